"""xrdct: from synchrotron XRD-CT frames to maps of chemistry."""

from importlib.metadata import PackageNotFoundError, version

from .kernel_cache import choose_kernel_cache


def _version() -> str:
    """Of the installed package, or of the checkout that is used without one (jobs in conda environments)."""
    try:
        return version("xrdct")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).resolve().parents[3] / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


__version__ = _version()
choose_kernel_cache()  # before any module loads one

"""Parameter files: presets, and files upon them; unknown keys and wrong values are errors."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from ...errors import ConfigError
from .beamtime import Parameters

PRESETS = Path(__file__).resolve().parent.parent / "presets"


def load_parameters(preset_or_file: str) -> Parameters:
    """Read a preset (its name) or a parameter file (a path).

    Raises
    ------
    ConfigError
        With one line per problem, or naming the presets when there is no such file.
    """
    path = _path(preset_or_file)
    try:
        return Parameters.model_validate(_settings(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not plain YAML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({error})") from None
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _path(preset_or_file: str) -> Path:
    preset = PRESETS / f"{preset_or_file}.yaml"
    path = preset if preset.is_file() else Path(preset_or_file)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise ConfigError(f"{preset_or_file}: neither a parameter file nor one of the presets ({known})")
    return path


def _settings(path: Path) -> dict:
    """The file's settings upon those of its base."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or "base" not in settings:
        return settings
    return _merged(_settings(_path(str(settings.pop("base")))), settings)


def _merged(settings: dict, changes: dict) -> dict:
    """Settings with `changes`, section by section; lists and single values are replaced."""
    both = {
        key: _merged(settings[key], value) if isinstance(value, dict) and isinstance(settings.get(key), dict) else value
        for key, value in changes.items()
    }
    return settings | both

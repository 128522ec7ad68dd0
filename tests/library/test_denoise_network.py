"""The network, its training and what comes out: shapes, seeds, resuming, and the promises of Noise2Inverse."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scan_parts import N_CHANNELS, K, N, clean_volume, inside, noisy_parts, psnr

from xrdct.denoise.baseline import blend, choose, features_of, held_out_error
from xrdct.denoise.inference import denoise, outputs, spread
from xrdct.denoise.low_rank import project_leave_one_out
from xrdct.denoise.paper import hold_one_part_out, paper_schedule, train_channel_by_channel
from xrdct.denoise.scaling import Scales, find_scales
from xrdct.denoise.training import Schedule, Speed, Training, hold_out, pair, speed_on
from xrdct.denoise.unet import new_network
from xrdct.errors import StoreError
from xrdct.io.network import network_from, read_training, write_training

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = Schedule(steps=40, check_every=10)


@pytest.fixture(scope="module")
def parts():
    return noisy_parts(dose=30.0)


@pytest.fixture(scope="module")
def scales(parts):
    return find_scales(parts, inside())


def training(parts, scales, schedule=SHORT, *, seed=0, width=4, channels=None, speed=None):
    network = new_network(width=width, depth=2, seed=seed)
    return Training(network, parts, scales, inside(), schedule, channels, speed=speed)


def weights(network):
    return torch.cat([values.ravel() for values in network.state_dict().values()])


@pytest.mark.parametrize("shape", [(64, 64), (37, 53), (9, 8)])
def test_images_of_any_size_keep_their_size(shape):
    image = torch.rand(2, 1, *shape)
    assert new_network(width=4, depth=3, seed=0)(image).shape == image.shape


def test_an_untrained_network_gives_its_input_back():
    image = torch.rand(1, 1, 20, 20)
    torch.testing.assert_close(new_network(width=4, depth=2, seed=0)(image), image)


def test_weights_depend_on_the_seed_alone():
    before = torch.random.get_rng_state()
    first, again, other = (weights(new_network(width=4, depth=2, seed=s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_lowers_the_error_against_the_truth_in_every_group_of_channels(parts, scales):
    network = training(parts, scales, Schedule(steps=250), width=8).run()
    found = np.stack([image for _, image, _ in denoise(network, parts, scales)])
    clean = clean_volume()
    gained = psnr(found, clean, inside()) - psnr(parts.mean(axis=1), clean, inside())
    peaks = np.ptp(clean[:, inside()], axis=1) > 0.8
    # measured 5 to 8 dB on the mean; the floor is far enough below that another thread count passes
    assert gained[peaks].mean() > 3
    assert gained[~peaks].mean() > 4
    assert gained.min() > 0


def test_a_killed_training_goes_on_to_the_same_result(parts, scales, tmp_path):
    whole = training(parts, scales)
    whole.run()

    class Killed(Exception):
        pass

    def save_then_die(state):
        write_training(state, tmp_path / "training.pt", key="this one")
        if state["step"] == 20:
            raise Killed

    with pytest.raises(Killed):
        training(parts, scales).run(checkpoint=save_then_die, checkpoint_every=20)
    resumed = training(parts, scales, seed=5)
    resumed.restore(read_training(tmp_path / "training.pt", key="this one"))
    assert resumed.step == 20
    resumed.run()
    assert resumed.history == whole.history
    assert torch.equal(weights(resumed.network), weights(whole.network))


KILLED = """
import sys, time
import torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(int(sys.argv[3]))
from test_denoise_network import find_scales, inside, noisy_parts, training, write_training

def slowly(steps):
    for step in steps:
        yield step
        time.sleep(0.05)

parts = noisy_parts(dose=30.0)
running = training(parts, find_scales(parts, inside()))
running.run(checkpoint=lambda state: write_training(state, sys.argv[2], key="k"), checkpoint_every=7, progress=slowly)
"""


def test_a_training_that_was_killed_with_minus_9_goes_on_to_the_same_result(parts, scales, tmp_path):
    whole = training(parts, scales)
    whole.run()
    checkpoint = tmp_path / "training.pt"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(checkpoint), str(torch.get_num_threads())]
    with subprocess.Popen(command) as child:
        while not checkpoint.is_file() and child.poll() is None:
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    resumed = training(parts, scales, seed=5)
    resumed.restore(read_training(checkpoint, key="k"))
    assert 0 < resumed.step < SHORT.steps
    resumed.run()
    assert resumed.history == whole.history
    assert torch.equal(weights(resumed.network), weights(whole.network))


def test_a_cpu_takes_no_short_cuts_and_a_gpu_takes_both():
    assert speed_on(torch.device("cpu")) == Speed(mixed=False, backend=None)
    assert speed_on(torch.device("cuda")) == Speed(mixed=True, backend="inductor")


def test_mixed_precision_trains_as_well(parts, scales):
    plain, mixed = training(parts, scales), training(parts, scales, speed=Speed(mixed=True, backend=None))
    plain.run(), mixed.run()
    assert not torch.equal(weights(plain.network), weights(mixed.network))
    assert all(values.dtype is torch.float32 for values in mixed.network.state_dict().values())
    # bfloat16 has 8 bits: 0.4 % in every value, of which noise is most
    assert mixed.best["loss"] == pytest.approx(plain.best["loss"], rel=0.01)


def test_a_compiled_network_trains_to_the_same_weights_under_the_same_names(parts, scales):
    plain, compiled = training(parts, scales), training(parts, scales, speed=Speed(mixed=False, backend="eager"))
    plain.run(), compiled.run()
    assert list(compiled.state()["weights"]) == list(plain.state()["weights"])
    # the same operations in the same order
    torch.testing.assert_close(weights(compiled.network), weights(plain.network))


def test_a_checkpoint_does_not_change_after_it_was_taken(parts, scales):
    running, taken = training(parts, scales), []
    running.run(checkpoint=taken.append, checkpoint_every=20)
    assert [state["step"] for state in taken] == [20, 40, 40]
    first, last = (state["optimiser"]["state"][0]["exp_avg"] for state in taken[:2])
    assert not torch.equal(first, last)


def test_training_stops_when_held_out_pairs_gain_no_more():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, K, N, N)).astype(np.float32)
    flat = find_scales(noise, inside())
    patient = training(noise, flat, Schedule(steps=3000, check_every=5, patience=2, learning_rate=0.03))
    patient.run()
    assert patient.step < 3000
    assert patient.best["step"] <= patient.step - 10


def test_the_best_weights_are_those_kept(parts, scales):
    running = training(parts, scales)
    running.run()
    assert running.held_out_loss() == pytest.approx(min(row["held_out"] for row in running.history), rel=1e-6)


def test_held_out_pairs_are_never_trained_on_and_every_channel_is():
    trained, checked = hold_out(np.arange(40), K, Schedule(steps=10))
    assert not set(trained) & set(checked)
    assert {channel for channel, _ in trained} == set(range(40))
    assert len(checked) == 4
    assert len(trained) + len(checked) == 40 * K


@pytest.mark.parametrize("joint", [False, True])
def test_training_on_pure_noise_returns_about_the_mean(joint):
    rng = np.random.default_rng(1)
    noise = rng.normal(3.0, 1.0, (4, K, N, N)).astype(np.float32)
    scales = find_scales(noise, inside())
    projected = project_leave_one_out(noise, scales, inside()) if joint else None
    network = new_network(width=8, depth=2, seed=0, inputs=1 + joint)
    Training(network, noise, scales, inside(), Schedule(steps=300), projected=projected).run()
    found = np.stack([image for _, image, _ in denoise(network, noise, scales, projected=projected)])[:, inside()]
    # white noise of 1/2 in, next to none out: the receptive field (22 px) averages some hundred voxels
    assert found.std() < 0.15
    assert found.mean() == pytest.approx(3.0, abs=0.05)


def test_noise_free_parts_stay_noise_free_under_a_trained_network(parts, scales):
    """Trained where only noise differs between the parts, the network leaves sharp, noise-free parts nearly alone."""
    clean = clean_volume()
    same = np.repeat(clean[:, None], K, axis=1)
    quiet = Scales(scales.mean, np.full(N_CHANNELS, 1e-2))
    network = training(same, quiet, Schedule(steps=60)).run()
    found = np.stack([image for _, image, _ in denoise(network, same, quiet)])
    assert psnr(found, clean, inside()).min() > 45


def test_the_spread_is_the_standard_error_of_a_linear_method():
    rng = np.random.default_rng(2)
    parts = rng.normal(0.0, 2.0, (K, 200, 200))
    found = np.stack([np.delete(parts, k, axis=0).mean(axis=0) for k in range(K)])
    # the jackknife of a mean is its standard error: 2 / sqrt(4); 40,000 voxels of 3 degrees of freedom: 0.4 %
    assert np.sqrt((spread(found) ** 2).mean()) == pytest.approx(1.0, rel=0.02)


def test_results_do_not_depend_on_how_the_image_is_turned(parts, scales):
    """Averaged over quarter turns, turning the parts turns the result."""
    network = training(parts, scales).run()
    turned = np.rot90(parts[5], axes=(1, 2)).copy()
    straight = outputs(network, np.asarray(parts[5]), scales, 5)
    np.testing.assert_allclose(outputs(network, turned, scales, 5), np.rot90(straight, axes=(1, 2)), atol=1e-4)


def test_channels_that_cannot_be_denoised_are_handed_through(parts, scales):
    few = np.array(parts[:3])
    few[1], few[2, 1, 24, 24] = 4.0, np.nan
    own = find_scales(few, inside())
    results = list(denoise(new_network(width=4, depth=2, seed=0), few, own))
    np.testing.assert_array_equal(results[1][1], 4.0)
    np.testing.assert_array_equal(results[1][2], 0.0)
    assert np.isnan(results[2][1][24, 24])


def test_what_all_channels_say_together_helps_the_network(parts, scales):
    """The same steps with the projection beside the image and without."""
    projected = project_leave_one_out(parts, scales, inside())
    clean, gained = clean_volume(), {}
    for name, beside in (("alone", None), ("together", projected)):
        network = new_network(width=4, depth=2, seed=0, inputs=1 if beside is None else 2)
        Training(network, parts, scales, inside(), Schedule(steps=150), projected=beside).run()
        found = [image for _, image, _ in denoise(network, parts, scales, projected=beside)]
        gained[name] = psnr(np.stack(found), clean, inside()).mean()
    assert gained["together"] > gained["alone"] + 1  # measured 1.7 dB


def test_a_network_is_given_nothing_that_the_held_out_part_says_but_two_numbers_and_a_rank(parts, scales):
    """Mean, noise and rank are those of the whole scan; what else changes in the part changes no bit of the input."""
    other = np.array(parts)
    other[:, 1] *= 1.01
    given = [pair(own, scales, 5, 1, project_leave_one_out(own, scales, inside())) for own in (parts, other)]
    assert given[0][0].shape == (2, N, N)
    np.testing.assert_array_equal(given[0][0], given[1][0])
    assert not np.array_equal(given[0][1], given[1][1])


def test_the_second_image_is_the_projection_of_the_first(parts, scales):
    projected = project_leave_one_out(parts, scales, inside())
    images, _ = pair(parts, scales, 5, 1, projected)
    np.testing.assert_allclose(images[1], scales.scaled(projected[5, 1], 5))
    # about four patterns explain 24 channels: most of the noise of a channel is gone
    assert np.std((images[1] - images[0])[inside()]) == pytest.approx(0.5 * np.sqrt(4 / 3), rel=0.2)


def test_the_paper_s_schedule_is_what_the_paper_says():
    first, more = paper_schedule(first=True), paper_schedule(first=False)
    assert (first.steps, more.steps) == (10_000, 1_000)  # 100 and 10 epochs of a hundred pairs
    assert (first.loss, first.learning_rate, first.batch, first.patience) == ("mae", 1e-3, 1, 5)


def test_images_of_one_channel_hold_the_same_part_out():
    trained, checked = hold_one_part_out(25, K, seed=3)
    assert len(trained) + 25 == 25 * K
    assert len({part for _, part in checked}) == 1
    assert not {part for _, part in trained} & {part for _, part in checked}


def test_channel_by_channel_tunes_the_same_network_on(parts, scales, monkeypatch):
    monkeypatch.setattr("xrdct.denoise.paper.IMAGES", 1)
    seen, kept = [], []
    network = new_network(width=4, depth=2, seed=0)
    few = find_scales(parts[:3], inside())
    for channel, tuned in train_channel_by_channel(network, parts[:3], few, inside()):
        seen.append(channel)
        kept.append(weights(tuned.network))
        assert tuned.network is network
    assert seen == [0, 1, 2]
    assert not torch.equal(kept[0], kept[1])


def test_a_bad_network_is_not_chosen(parts, scales):
    """The safety net: on held-out data the truth-free weights do better than a network that is broken."""
    broken = new_network(width=4, depth=2, seed=0)
    torch.nn.init.constant_(broken.last.bias, 5.0)
    values = np.asarray(parts[8])
    weighted = blend(features_of(values), values, inside())[0]
    name, errors = choose({"weights": weighted, "network": outputs(broken, values, scales, 8)}, values, inside())
    assert name == "weights"
    assert errors["weights"] == pytest.approx(held_out_error(weighted, values, inside()))


def test_a_network_is_read_as_it_was_written(parts, scales, tmp_path):
    running = training(parts, scales)
    network = running.run()
    write_training(running.state(), tmp_path / "network.pt", key="k")
    found = network_from(read_training(tmp_path / "network.pt"))
    assert torch.equal(weights(found), weights(network))


def test_a_checkpoint_of_another_training_is_not_used(parts, scales, tmp_path):
    path = tmp_path / "network.pt"
    assert read_training(path, key="a") is None
    write_training(training(parts, scales).state(), path, key="a")
    assert read_training(path, key="b") is None


@pytest.mark.parametrize("content", [None, b"not a network", {"kind": "something else"}])
def test_files_that_are_no_network_are_refused_with_their_name(tmp_path, content):
    path = tmp_path / "network.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    with pytest.raises(StoreError, match=r"network\.pt"):
        read_training(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree(parts, scales):
    network = training(parts, scales).run()
    here = outputs(network, np.asarray(parts[5]), scales, 5)
    there = outputs(network.to("cuda"), np.asarray(parts[5]), scales, 5)
    np.testing.assert_allclose(there, here, atol=1e-3 * np.ptp(here))

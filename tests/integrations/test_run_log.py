"""Output of other packages goes to `calibration/run.log`, and the user sees errors and the plugin's warnings."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import tqdm

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.boundary import log_of
from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.results.frontier import Frontier

BIN = Path(sys.executable).parent
SMALL = """
merge_method: calibration_sweep
base_model: mergekit_calib/demo/base
models: [{model: mergekit_calib/demo/aligned}]
dtype: bfloat16
calibration:
  axes: {lambda: [0.5, 1.0e+39]}
  suite: [{task: calib_demo, limit: 60}]
  model_args: {dtype: float32}
"""
NOISE = ("torch_dtype", "Using the latest cached version", "Skipping optional weight", "it/s]", "Writing shard")


def frontier() -> Frontier:
    return Frontier(
        name="x",
        created="2025-01-01",
        finished=False,
        axes={},
        models={"base": "a", "aligned": "b"},
        method="linear",
        seed=0,
        suite=[],
        objectives=[],
        level=0.95,
        n_resamples=1,
        n_bins=15,
        points=[],
    )


def host_logger(name: str) -> logging.Logger:
    """Return a logger with its own handler, as transformers has; call it in the test, whose streams are captured."""
    logger = logging.getLogger(name)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False
    return logger


def make_noise(logger: logging.Logger) -> None:
    logger.warning("a host's warning")
    print("a host's print")
    for _ in tqdm.tqdm(range(3), desc="bar"):
        pass
    warnings.warn("a host's Python warning", stacklevel=1)


def test_records_prints_bars_and_warnings_go_to_the_file_with_times(tmp_path, capsys) -> None:
    shown: list[str] = []
    logger = host_logger("a_host")
    with RunLog(tmp_path, shown.append) as log:
        make_noise(logger)
        assert not (tmp_path / "calibration").exists()
        log.started(frontier(), 3)
        logger.error("it burns")
    lines = (tmp_path / "calibration" / "run.log").read_text().splitlines()
    text = "\n".join(lines)
    for said in ("a host's warning", "a host's print", "a host's Python warning", "it burns"):
        assert text.count(said) == 1, said
    (bar,) = [line for line in lines if "bar:" in line]
    assert "100%" in bar
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    assert shown == ["a_host: it burns"]
    assert capsys.readouterr() == ("", "")


def test_streams_and_loggers_are_restored_afterwards(tmp_path, capsys) -> None:
    logger = host_logger("another_host")
    before = sys.stdout, sys.stderr, logging.getLogger().level, list(logging.getLogger().handlers)
    with RunLog(tmp_path, lambda _: None):
        late = logging.StreamHandler()
    assert (sys.stdout, sys.stderr, logging.getLogger().level, list(logging.getLogger().handlers)) == before
    logger.warning("afterwards")
    late.stream.write("late\n")
    assert capsys.readouterr().err == "afterwards\nlate\n"


@pytest.mark.parametrize("verbosity", [0, 1])
def test_standard_error_of_native_code_and_children_goes_to_the_file_unless_verbose(tmp_path, capfd, verbosity) -> None:
    with RunLog(tmp_path, lambda _: None, verbosity) as log:
        log.started(frontier(), 3)
        os.write(2, b"from C\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'from a child\\n')"], check=True)
        log.line("afterwards")
    os.write(2, b"the end\n")
    in_file = (tmp_path / "calibration" / "run.log").read_text()
    on_screen = capfd.readouterr().err
    assert on_screen == ("from C\nfrom a child\nthe end\n" if verbosity else "the end\n")
    assert ("from C\nfrom a child\n" in in_file) == (not verbosity)
    assert in_file.endswith("afterwards\n")


def test_the_plugins_warnings_are_shown_once(tmp_path) -> None:
    shown: list[str] = []
    with RunLog(tmp_path, shown.append):
        for _ in range(2):
            warnings.warn_explicit(
                "scored as `hf` scores", UserWarning, "/x/mergekit_calib/scoring/model.py", 1, registry={}
            )
            logging.getLogger("mergekit_calib.x").warning("look here")
    assert shown == ["warning: scored as `hf` scores", "warning: look here"]


@pytest.mark.parametrize(
    ("verbosity", "expected"), [(0, []), (1, ["host: said"]), (2, ["host: said", "host: whispered"])]
)
def test_more_messages_are_shown_with_higher_verbosity(tmp_path, verbosity, expected) -> None:
    shown: list[str] = []
    logger = logging.getLogger("host")
    with RunLog(tmp_path, shown.append, verbosity):
        logger.info("said")
        logger.debug("whispered")
    assert shown == expected


def ends_early(out: Path, problem: Exception) -> None:
    with RunLog(out, lambda _: None):
        print("what led to it")
        raise problem


def test_an_error_before_the_start_makes_no_folder_and_a_file_keeps_the_lines_before_an_unexpected_one(
    tmp_path, capsys
) -> None:
    with pytest.raises(CalibError):
        ends_early(tmp_path / "a", CalibError("a typing error"))
    with pytest.raises(RuntimeError) as caught:
        ends_early(tmp_path / "b", RuntimeError("accident"))
    assert capsys.readouterr() == ("", "")
    log = log_of(caught.value)
    assert log is not None
    assert "what led to it" in log.read_text()
    log.unlink()
    assert list(tmp_path.iterdir()) == []


def test_latest_is_the_progress_bar_of_a_running_download(tmp_path) -> None:
    with RunLog(tmp_path, lambda _: None) as log:
        bar = tqdm.tqdm(total=10, desc="model.safetensors", mininterval=0, file=sys.stderr)
        bar.update(4)
        assert log.latest.startswith("model.safetensors:  40%")
        bar.close()
        assert log.latest == ""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yml"
    path.write_text(SMALL)
    return path


def test_in_a_pipe_there_is_one_plain_line_for_each_event_and_no_noise(recipe, tmp_path) -> None:
    done = subprocess.run(
        [BIN / "mergekit-yaml", recipe, tmp_path / "out"], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    events = [line for line in done.stdout.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line)]
    for point in ("λ = 0  acc", "λ = 1  acc", "λ = 0.5  acc", "λ = 1e+39  failed: WeightsError"):
        assert len([line for line in events if point in line]) == 1, done.stdout
    assert not [noise for noise in NOISE if noise in done.stdout]
    log = (tmp_path / "out" / "calibration" / "run.log").read_text(encoding="utf-8")
    assert "Skipping optional weight" in log
    assert "Traceback" in log
    assert "holds NaN or infinity" in log


def test_in_a_terminal_of_forty_columns_there_is_no_noise_and_the_table_is_complete(recipe, tmp_path) -> None:
    import fcntl
    import struct
    import termios

    import pyte

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 40, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [BIN / "mergekit-yaml", recipe, tmp_path / "out"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(follower)
    screen = pyte.Screen(40, 200)
    stream = pyte.ByteStream(screen)
    raw = b""
    while True:
        try:
            some = os.read(leader, 65536)
        except OSError:  # the process has ended and its side of the terminal is closed
            break
        if not some:
            break
        raw += some
        stream.feed(some)
    os.close(leader)
    assert process.wait() == 3
    lines = [line.rstrip() for line in screen.display if line.strip()]
    text = "\n".join(lines)
    for point in ("λ = 0 ", "λ = 0.5 ", "λ = 1 "):
        assert [line for line in lines if line.startswith(point) and re.search(r"0\.\d{3}", line)], text
    assert "WeightsError" in text
    assert "Ship λ = " in text or "No merge beat the" in text
    assert "━" not in text
    seen = raw.decode("utf-8", "replace")
    assert "merging" in seen
    assert "4 points" in seen
    assert not [noise for noise in NOISE if noise in seen]

"""Several processes may open own data at once: the first prepares them."""

import logging
import threading
from pathlib import Path

import pytest

from tests.made_ava import Movie, write_movie
from utils.datasets.custom.tables import CustomOptions
from utils.datasets.splits import DataOptions, custom_store, open_split, prepare_split
from utils.files import locked


def test_own_data_are_prepared_by_one_process_at_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_movie(Movie("a"), tmp_path / "a.mp4")
    rows = [f"a.mp4,one,{n / 10},10,20,60,90,1" for n in range(16)]
    (tmp_path / "val.csv").write_text("video,entity,time_s,x1,y1,x2,y2,label\n" + "\n".join(rows))
    data = DataOptions(data="own", data_path=tmp_path, num_processes=1)
    begun, told = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(custom_store(tmp_path, "val"), "preparing val"):
            begun.set()
            told.wait(60)

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            told.set()

    other = threading.Thread(target=hold)
    other.start()
    assert begun.wait(60)
    monkeypatch.setattr(logging.getLogger("utils.files"), "handlers", [Told()])
    prepare_split(data, CustomOptions(), "val")
    other.join()
    assert "another process is preparing val in" in caplog.text
    assert open_split("own", tmp_path, "val").num_frames == 39
    assert open_split("custom", tmp_path, "val").num_frames == 39

"""The feature store: round trips, size compared with published tables, and error messages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.asc_data import read_feature_table, write_feature_table, write_score_table
from utils.datasets.storage.feature_store import (
    FeatureFormat,
    FeatureStore,
    FeatureStoreWriter,
    VideoFeatures,
)

FORM = FeatureFormat("asc_encoder", 64, 11, "ab12" * 16)


def make_features(video: str, counts: tuple[int, ...] = (7, 3), width: int = 64) -> VideoFeatures:
    rng = np.random.default_rng(len(video))
    num_rows = sum(counts)
    return VideoFeatures(
        video=video,
        entities=[f"{video}_0900:{number}" for number in range(len(counts))],
        counts=counts,
        timestamps=np.concatenate(
            [np.empty(0), *(902.1 + np.arange(count) / 25 for count in counts)]
        ),
        labels=rng.integers(-1, 2, num_rows).astype(np.int8),
        logits=rng.normal(size=(num_rows, 2)).astype(np.float32),
        embeddings=rng.normal(size=(num_rows, width)).astype(np.float32),
        boxes=rng.uniform(size=(num_rows, 4)).astype(np.float32) if len(video) % 2 else None,
    )


def assert_same(found: VideoFeatures, expected: VideoFeatures, half: bool) -> None:
    assert (found.video, list(found.entities), list(found.counts)) == (
        expected.video,
        list(expected.entities),
        list(expected.counts),
    )
    for name in ("timestamps", "labels", "logits"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    if half:
        np.testing.assert_allclose(found.embeddings, expected.embeddings, rtol=1e-3, atol=1e-6)
    else:
        np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    assert (found.boxes is None) == (expected.boxes is None)
    if expected.boxes is not None:
        np.testing.assert_array_equal(found.boxes, expected.boxes)


def rows_of(features: VideoFeatures) -> list[tuple[NDArray[np.int8], NDArray[np.float64]]]:
    edges = np.cumsum(features.counts)[:-1]
    return (
        list(
            zip(np.split(features.labels, edges), np.split(features.timestamps, edges), strict=True)
        )
        if features.counts
        else []
    )


def test_holds_is_false_for_changed_faces(tmp_path: Path) -> None:
    features, writer = make_features("one"), FeatureStoreWriter(tmp_path, FORM)
    writer.add(features)
    names, (first, second) = list(features.entities), rows_of(features)
    turned = (np.where(first[0] == 1, 0, 1).astype(np.int8), first[1])
    assert writer.holds("one", names, [first, second])
    assert not writer.holds("one", names, [turned, second])
    assert not writer.holds("one", names, [(first[0], first[1] + 1), second])
    assert not writer.holds("one", [names[0], "else"], [first, second])
    assert not writer.holds("one", names[:1], [first])


@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
def test_round_trip(tmp_path: Path, half: bool) -> None:
    videos = [make_features("b/ü:1"), make_features(".a"), make_features("none", ())]
    writer = FeatureStoreWriter(tmp_path, replace(FORM, half=half))
    for features in videos:
        given = (features.video, features.entities, rows_of(features))
        assert not writer.holds(*given)
        writer.add(features)
        assert writer.holds(*given)
    assert not list(tmp_path.glob(".*"))
    store = FeatureStore(tmp_path)
    store.verify()
    store.check("asc_encoder", 64)
    order = {video: index for index, video in enumerate(store.videos)}
    assert len(store) == 3 and [store.num_rows[order[one.video]] for one in videos] == [10, 10, 0]
    for features in videos:
        found = store.read(order[features.video])
        assert_same(found, features, half)
        assert len(found) == 0 or isinstance(found.embeddings, np.memmap)


def test_video_is_replaced(tmp_path: Path) -> None:
    writer = FeatureStoreWriter(tmp_path, FORM)
    writer.add(make_features("v"))
    writer.add(make_features("v", (4,)))
    assert list(FeatureStore(tmp_path).num_rows) == [4]


def test_other_format(tmp_path: Path) -> None:
    FeatureStoreWriter(tmp_path, FORM).add(make_features("v"))
    with pytest.raises(ValueError, match=r"expected .* clips of 5.*found .* clips of 11"):
        FeatureStoreWriter(tmp_path, replace(FORM, clip_length=5))
    with pytest.raises(ValueError, match="expected embeddings of 64 channels, got 8"):
        FeatureStoreWriter(tmp_path, FORM).add(make_features("w", width=8))
    store = FeatureStore(tmp_path)
    with pytest.raises(ValueError, match=r"expected features of asdnet_encoder, 672 channels"):
        store.check("asdnet_encoder", 672)
    other = tmp_path / "other"
    FeatureStoreWriter(other, replace(FORM, weights="cd34")).add(make_features("w"))
    next(other.glob("*.features")).rename(tmp_path / "w.features")
    with pytest.raises(ValueError, match=r"w\.features: expected .*ab12.* found .*cd34"):
        FeatureStore(tmp_path)


def test_values_beyond_float16(tmp_path: Path) -> None:
    large = replace(make_features("v"), embeddings=np.full((10, 64), 1e5, np.float32))
    with pytest.raises(ValueError, match="v: embeddings are not finite or too large for float16"):
        FeatureStoreWriter(tmp_path, FORM).add(large)
    FeatureStoreWriter(tmp_path, replace(FORM, half=False)).add(large)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    FeatureStoreWriter(tmp_path, FORM).add(make_features("v"))
    path = tmp_path / "v.features"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[1:], whole[:-40] + whole[-39:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"v\.features is damaged or not a features file"):
            FeatureStore(tmp_path)
    path.write_bytes(whole[:400] + bytes([whole[400] ^ 1]) + whole[401:])
    store = FeatureStore(tmp_path)
    with pytest.raises(ValueError, match="its data fails the checksum"):
        store.verify()


def test_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected files VIDEO\.features, found none"):
        FeatureStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a folder with features"):
        FeatureStore(tmp_path / "nothing")


def test_invalid_shapes() -> None:
    with pytest.raises(ValueError, match=r"v: expected logits \(10, 2\), got \(9, 2\)"):
        replace(make_features("v"), logits=np.zeros((9, 2), np.float32))


def test_published_table(tmp_path: Path) -> None:
    features = make_features("v", (300, 200))
    write_feature_table(features, tmp_path / "v.csv")
    first = (tmp_path / "v.csv").read_text().splitlines()[0]
    assert first.startswith(f"v,902.1,v_0900:0,{float(features.labels[0])},")
    assert '"[' in first and "np." not in first
    assert_same(read_feature_table(tmp_path / "v.csv"), replace(features, boxes=None), half=False)
    FeatureStoreWriter(tmp_path, FORM).add(features)
    sizes = [(tmp_path / name).stat().st_size for name in ("v.csv", "v.features")]
    assert sizes[0] > 4 * sizes[1]


def test_tables_with_numpy_reprs(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(
        'v,902.1,b,1.0,0.5,-1.5,"[np.float32(0.25), np.float32(-1e-05)]"\n'
        'v,902.1,a,0.0,0.5,-1.5,"[np.float32(1.0), np.float32(2.0)]"\n'
        'v,902.14,b,0.0,0.5,-1.5,"[3.0, 4.0]"\n'
    )
    found = read_feature_table(path)
    assert (list(found.entities), list(found.counts)) == (["b", "a"], [2, 1])
    assert found.timestamps.tolist() == [902.1, 902.14, 902.1]
    np.testing.assert_array_equal(
        found.embeddings, np.array([[0.25, -1e-05], [3, 4], [1, 2]], np.float32)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('v,1,b,1.0,0,0,"[a]"\n', "line 1: could not convert"),
        ('v,1,b,1.0,0,0,"[1]"\nw,1,b,1.0,0,0,"[1]"\n', "the rows of one video, found 2"),
        ('v,1,b,1.0,0,0,"[1]"\nv,2,b,1.0,0,0,"[1, 2]"\n', r"one width, found \[1, 2\]"),
    ],
    ids=["number", "videos", "widths"],
)
def test_invalid_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "v.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_feature_table(path)


def test_score_table(tmp_path: Path) -> None:
    features = make_features("v", (2, 1))
    logits = np.array([[0.5, -0.25], [1, 2], [0.1, 3]], np.float32)
    write_score_table(features, logits, tmp_path / "v.csv")
    assert (tmp_path / "v.csv").read_text().splitlines() == [
        "v_0900:0,902.1,0.5,-0.25",
        "v_0900:0,902.14,1.0,2.0",
        "v_0900:1,902.1,0.1,3.0",
    ]

"""The local page over HTTP: uploads, ranges, reports, and who may ask; with real workers."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.made_report import squares
from tests.made_served import MAX_BYTES, made_app
from tests.made_video import write_video
from utils.output.results import Result
from utils.report.edits import Edits, fingerprint
from utils.server.jobs import JobStore

pytestmark = pytest.mark.slow  # every worker process loads torch

HOME = "http://127.0.0.1:8710"
TOKEN = "a-secret-of-32-characters-or-more"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, squares(25))
    return path.read_bytes()


Open = Callable[..., TestClient]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Yield a function that starts a server; it is stopped at the end."""
    monkeypatch.setenv("MADE_SERVED", str(tmp_path))
    folder = tmp_path / "served"
    folder.mkdir()
    clients: list[TestClient] = []

    def start(host: str = "127.0.0.1", token: str = "") -> TestClient:
        app, _ = made_app(folder, host, token)
        client = TestClient(app, base_url=HOME, follow_redirects=False)
        clients.append(client)
        return client.__enter__()

    yield start
    for client in clients:
        if client.portal is not None:
            client.__exit__(None, None, None)


def upload(client: TestClient, video: bytes, **query: str) -> str:
    answer = client.put("/videos", params=query, content=video)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def job_of(client: TestClient, job_id: str, *states: str) -> dict[str, Any]:
    """Return a job once it has one of these states."""
    while True:
        (job,) = (job for job in client.get("/jobs").json() if job["id"] == job_id)
        if job["state"] in states:
            return dict(job)
        time.sleep(0.05)


ENDED = ("done", "failed", "cancelled")


def test_from_upload_to_corrected_report(opened: Open, video: bytes, tmp_path: Path) -> None:
    client = opened()
    job = job_of(client, upload(client, video, name="talk <b>.mp4"), *ENDED)
    assert (job["state"], job["error"], job["name"]) == ("done", "", "talk <b>.mp4")
    assert (job["num_people"], job["duration_s"]) == (4, 62.0)
    here = f"/jobs/{job['id']}"

    report = client.get(f"{here}/results/report.html")
    policy = report.headers["content-security-policy"]
    assert "'unsafe-eval'" not in policy and "script-src 'sha256-" in policy
    assert '<meta name="edits-address" content="../edits">' in report.text
    assert "<title>talk &lt;b&gt;.mp4" in report.text
    assert "http-equiv" not in report.text

    results = tmp_path / "served" / job["id"] / "results"
    edits = {"version": 1, "threshold": 0, "edits": [{"edit": "merge", "person": 1, "into": 0}]}
    edits["result"] = fingerprint(Result.read_json(results / "result.json"))
    assert client.put(f"{here}/edits", content=json.dumps(edits)).status_code == 204
    assert Edits.read_json(results / "edits.json").as_json() == edits
    assert job_of(client, job["id"], "done")["num_people"] == 3
    assert '"edit":"merge"' in client.get(f"{here}/results/report.html").text
    for wrong in (b"{", json.dumps({**edits, "result": "0" * 16}).encode()):
        assert client.put(f"{here}/edits", content=wrong).status_code == 400
    assert Edits.read_json(results / "edits.json").as_json() == edits

    assert client.delete(here).status_code == 204
    assert client.get("/jobs").json() == []
    assert not results.exists()


def test_a_lower_threshold_finds_more_speech_in_the_same_scores(opened: Open, video: bytes) -> None:
    client = opened()
    first = job_of(client, upload(client, video, name="a.mp4"), *ENDED)
    answer = client.post(f"/jobs/{first['id']}/again", json={"threshold": -2})
    second = job_of(client, answer.json()["id"], *ENDED)
    assert (second["state"], second["threshold"]) == ("done", -2)
    assert second["speaking_s"] > first["speaking_s"]
    wrongs: list[object] = [{"threshold": "nan"}, {"threshold": None}, {"model": "other"}, []]
    for wrong in wrongs:
        assert client.post(f"/jobs/{first['id']}/again", json=wrong).status_code == 400
    client.delete(f"/jobs/{first['id']}")
    assert client.get(f"/jobs/{second['id']}/video.mp4").content == video


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=99999999-", 416, None),
        ("", 200, slice(None)),
    ],
)
def test_ranges(opened: Open, video: bytes, asked: str, status: int, part: slice | None) -> None:
    client = opened()
    job_id = upload(client, video, name="a.mp4", model="hang")
    answer = client.get(f"/jobs/{job_id}/video.mp4", headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    if part is not None:
        assert answer.content == video[part]
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-type"] == "video/mp4"


def test_names_never_become_paths(opened: Open, video: bytes, tmp_path: Path) -> None:
    client = opened()
    names = [
        "../../../a.mp4",
        "..\\..\\b.mp4",
        "/etc/passwd",
        "c.mp4/../d.m/../p",
        ".json",
        "..",
        "",
    ]
    for name in names:
        upload(client, video, name=name, model="hang")
    jobs = client.get("/jobs").json()
    assert [job["name"] for job in reversed(jobs)] == [
        *("a.mp4", "b.mp4", "passwd", "p", ".json", "..", "video")
    ]
    assert {job["file"] for job in jobs} == {"video.mp4", "video.bin"}
    assert {path.parent.parent.name for path in tmp_path.rglob("video.*")} == {"served"}
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "served" / jobs[0]["id"] / "results").mkdir(exist_ok=True)
    for prefix in (f"/jobs/{jobs[0]['id']}", f"/jobs/{jobs[0]['id']}/results", "/static", "/jobs"):
        for name in (
            "../secret.txt",
            "..%2f..%2fsecret.txt",
            "%2e%2e/%2e%2e/secret.txt",
            "job.json",
        ):
            answer = client.get(f"{prefix}/{name}")
            assert answer.status_code in (404, 405), (prefix, name)


def test_uploads_are_bounded_and_nothing_is_left(opened: Open, tmp_path: Path) -> None:
    client = opened()
    parts = (bytes(100_000) for _ in range(MAX_BYTES // 100_000 + 1))  # without a length
    assert client.put("/videos", content=parts).status_code == 413
    assert client.put("/videos", content=bytes(MAX_BYTES + 1)).status_code == 413
    assert client.put("/videos", content=b"").status_code == 400
    assert client.put("/videos?model=other", content=b"1").status_code == 400
    assert list((tmp_path / "served").iterdir()) == []


def test_a_full_disk_refuses_the_upload(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: JobStore) -> Path:
        folder = tmp_path / "full"
        folder.mkdir()
        (folder / "video.mp4").symlink_to("/dev/full")
        return folder

    client = opened()
    monkeypatch.setattr(JobStore, "new_folder", full)
    answer = client.put("/videos?name=a.mp4", content=bytes(100_000))
    assert (answer.status_code, answer.json()) == (507, {"error": "No space left on device"})
    assert not (tmp_path / "full").exists()


def test_a_job_that_fails_leaves_the_others_alone(opened: Open, video: bytes) -> None:
    client = opened()
    names = ("die", "full", "die-once", "auto")
    ids = {name: upload(client, video, name="a.mp4", model=name) for name in names}
    ids["broken"] = upload(client, b"no video", name="b.mp4")
    jobs = {name: job_of(client, job_id, *ENDED) for name, job_id in ids.items()}
    states = {name: (job["state"], job["attempt"]) for name, job in jobs.items()}
    # The mark of the first death makes die-once live; a retry is counted for `die` alone.
    assert states == {
        "die": ("failed", 2),
        "full": ("failed", 1),
        "die-once": ("done", 1),
        "auto": ("done", 1),
        "broken": ("failed", 1),
    }
    assert "SIGKILL" in jobs["die"]["error"]
    assert "No space left on device" in jobs["full"]["error"]
    assert "b.mp4" in jobs["broken"]["error"] and "served" not in jobs["broken"]["error"]


def test_a_killed_worker_is_tried_again(opened: Open, video: bytes) -> None:
    client = opened()
    job = job_of(client, upload(client, video, model="die-once"), *ENDED)
    assert (job["state"], job["attempt"], job["error"]) == ("done", 2, "")


def test_cancelled_jobs_make_room(opened: Open, video: bytes) -> None:
    client = opened()
    running, waiting, last = (
        upload(client, video, model=model) for model in ("hang", "hang", "auto")
    )
    assert client.post(f"/jobs/{waiting}/cancel").status_code == 204
    job = job_of(client, running, "running")
    while not job["progress"] or job["progress"]["num_faces"] != 2:
        job = job_of(client, running, "running")
    assert job["progress"] == {
        **{"stage": "finding speakers", "time_s": 0.0, "length_s": 1.0, "num_faces": 0},
        **{"time_s": job["progress"]["time_s"], "num_faces": 2},
    }
    client.post(f"/jobs/{running}/cancel")
    assert job_of(client, last, *ENDED)["state"] == "done"
    assert job_of(client, running, *ENDED)["state"] == "cancelled"
    assert job_of(client, waiting, *ENDED)["state"] == "cancelled"


def test_the_queue_goes_on_at_the_next_start(opened: Open, video: bytes, tmp_path: Path) -> None:
    client = opened()
    first = upload(client, video, name="a.mp4", model="hang")
    second = upload(client, video, name="b.mp4")
    job_of(client, first, "running")
    client.__exit__(None, None, None)
    stored = json.loads((tmp_path / "served" / first / "job.json").read_text())
    assert (stored["state"], stored["attempt"]) == ("waiting", 0)
    stored["state"] = "running"  # as a server leaves it that is killed
    (tmp_path / "served" / first / "job.json").write_text(json.dumps({**stored, "model": "auto"}))
    unfinished = tmp_path / "served" / ("0" * 16)
    unfinished.mkdir()
    (unfinished / "video.mp4").write_bytes(b"half an upload")
    again = opened()
    assert job_of(again, first, *ENDED)["state"] == "done"
    assert job_of(again, second, *ENDED)["state"] == "done"
    assert not unfinished.exists()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/jobs", {"Host": "localhost:8710"}, 200),
        ("GET", "/jobs", {"Host": "evil.example:8710"}, 421),
        ("GET", "/jobs", {"Host": ""}, 421),
        ("PUT", "/videos", {"Origin": "https://evil.example"}, 403),
        ("PUT", "/videos", {"Origin": "null"}, 403),
        ("PUT", "/videos", {"Origin": "http://127.0.0.1:8711"}, 403),
        ("PUT", "/videos", {"Origin": HOME}, 400),  # an empty file
        ("GET", "/jobs", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", "/jobs", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", "/jobs", {"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_who_may_ask(
    opened: Open, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = opened().request(method, path, headers=headers)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_token_is_asked_for_once(opened: Open) -> None:
    client = opened("0.0.0.0", TOKEN)
    assert client.get("/jobs").status_code == 401
    assert client.get("/jobs", headers={"Authorization": "Bearer no"}).status_code == 401
    assert client.get("/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/?token=wrong").status_code == 401
    answer = client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/jobs").status_code == 200

"""The stream: the past first, then every sample once."""

import http.client
import json
import time
import zlib
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from conftest import eventually
from test_stats import assert_one_a_second

import services

# A tick takes a second; ten without an event are a broken stream.
SILENCE_SECONDS = 10
# A viewer joins the chain of compressed events after at most 30 ticks and sees all of the next.
GZIP_TICKS = 62
DAY_BYTES = 60e6


class Event(NamedTuple):
    name: str
    id: str
    data: dict


@pytest.fixture(scope="module")
def service(request):
    with services.stats(request.config) as service:
        yield service


@contextmanager
def stream(service):
    """The response to a stream's request, and its events as they come."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=SILENCE_SECONDS)
    try:
        connection.request("GET", "/stats/stream", headers={"accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("content-type") == "text/event-stream"
        yield events(response)
    finally:
        connection.close()


def events(response):
    """Parses the stream like a browser's EventSource (HTML, 9.2.6)."""
    fields = {}
    for line in response:
        line = line.decode().rstrip("\n")
        if line == "":
            if "data" in fields:
                data = json.loads(fields["data"])
                yield Event(fields.get("event", "message"), fields.get("id", ""), data)
            elif "retry" in fields:
                yield Event("retry", "", int(fields["retry"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            assert name not in fields, f"{name} is there twice"
            fields[name] = value


def take(stream, count):
    return [next(stream) for _ in range(count)]


def test_through_the_gateway_a_stream_in_gzip_arrives_with_each_tick_and_is_small(request, service):
    with services.gateway(request.config, service.address, service.address) as gateway:
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=SILENCE_SECONDS)
        headers = {"accept": "text/event-stream", "accept-encoding": "gzip, deflate, br"}
        connection.request("GET", "/stats/stream", headers=headers)
        response = connection.getresponse()
        assert response.getheader("content-encoding") == "gzip"
        assert "accept-encoding" in response.getheader("vary").lower()
        decoder, text, ticks = zlib.decompressobj(wbits=31), b"", []
        while len(ticks) < GZIP_TICKS:
            part = response.read1()
            before = text.count(b"event: sample")
            text += decoder.decompress(part)
            if text.count(b"event: sample") > before and text.endswith(b"\n\n"):
                ticks.append((time.monotonic(), len(part)))
        connection.close()
    # The first may be the newest sample of the past. From the 30th on the viewer is in the chain.
    gaps = [later - earlier for (earlier, _), (later, _) in zip(ticks[1:], ticks[2:])]
    assert max(gaps) < 3
    data = [line for line in text.decode().splitlines() if line.startswith("data: {")]
    sequences = [json.loads(line[6:])["sequence"] for line in data[1:]]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    a_day = sum(size for _, size in ticks[-30:]) / 30 * 86_400
    print(f"a day has {a_day / 1e6:.0f} MB, {len(data[-1]) * 86_400 / 1e6:.0f} MB without gzip")
    assert a_day < DAY_BYTES


def identity(sample):
    return f"{sample['instance']}-{sample['sequence']}"


def test_the_history_comes_first_and_then_every_sample_in_its_time(service):
    with stream(service) as coming:
        retry, history = take(coming, 2)
        assert retry.name == "retry"
        assert 100 <= retry.data <= 60_000
        assert (history.name, history.id) == ("history", identity(history.data))
        samples, arrivals = [], []
        for _ in range(8):
            samples.append(next(coming))
            arrivals.append(time.monotonic())
    for event in samples:
        assert (event.name, event.id) == ("sample", identity(event.data))
    first = history.data["sequence"] + 1
    assert [event.data["sequence"] for event in samples] == list(range(first, first + 8))
    # The first was waiting already; each of the others comes when it is taken.
    assert_one_a_second(arrivals[1:])


def test_the_history_of_a_stream_fits_the_samples_behind_it(service):
    eventually(lambda: service.fetch("/stats").json()["sequence"] >= 4)
    with stream(service) as coming:
        _, history, sample = take(coming, 3)
    rows = history.data
    assert rows["step_seconds"] == 1
    times = rows["time_unix_ms"]
    assert times == sorted(times)
    assert times[-1] < sample.data["time_unix_ms"]
    assert set(rows["series"]) >= {"cpu", "ram"}
    assert {len(series["mean"]) for series in rows["series"].values()} == {len(times)}
    cores = rows["cores"]
    assert len(cores["busy"]) == len(cores["time_unix_ms"]) >= 1
    assert {len(row) for row in cores["busy"]} == {len(sample.data["processors"]["cores"])}
    assert all(0 <= busy <= 100 for row in cores["busy"] for busy in row)


def test_viewers_at_the_same_time_see_the_same(service):
    with stream(service) as one, stream(service) as other:
        seen = [
            {event.id: event.data for event in take(viewer, 5) if event.name == "sample"} for viewer in (one, other)
        ]
    shared = set(seen[0]) & set(seen[1])
    assert len(shared) >= 2
    assert all(seen[0][id] == seen[1][id] for id in shared)

"""The bell rings once for each partition and epoch, in a language any arq worker with JSON reads."""

import json

from arq.constants import default_queue_name
from prometheus_client import REGISTRY

from gitpulse_service.log.port import Receipt
from gitpulse_service.receiver.doorbell import Doorbell
from harness.processes import free_port
from harness.redis import redis_server


def receipt(partition, epoch):
    return Receipt("0-1-1", False, partition, epoch)


async def test_one_job_for_a_partitions_epoch(redis_url, redis):
    bell = Doorbell(redis_url)
    for partition, epoch in [(3, 0), (3, 0), (4, 0), (3, 0), (3, 1), (3, 1)]:
        bell.ring(receipt(partition, epoch))
    await bell.aclose()
    assert sorted(await redis.zrange(default_queue_name, 0, -1)) == [b"drain:3:0", b"drain:3:1", b"drain:4:0"]
    job = json.loads(await redis.get("arq:job:drain:3:1"))
    assert (job["f"], job["a"], job["k"]) == ("drain", [3], {})


async def test_two_receivers_ring_one_job(redis_url, redis):
    for _ in range(2):
        bell = Doorbell(redis_url)
        bell.ring(receipt(1, 0))
        await bell.aclose()
    assert await redis.zcard(default_queue_name) == 1


async def test_a_ring_that_failed_is_counted_and_tried_with_the_next_delivery(tmp_path):
    def failures():
        return REGISTRY.get_sample_value("gitpulse_doorbell_failures_total")

    before, port = failures(), free_port()
    bell = Doorbell(f"redis://127.0.0.1:{port}/0")
    bell.ring(receipt(1, 0))
    await bell.settle()
    assert failures() == before + 1
    with redis_server(tmp_path, port=port):
        bell.ring(receipt(1, 0))
        await bell.aclose()
    assert failures() == before + 1

"""aiokafka against a broker: produces, reads in a group, administers: BOOTSTRAP TOPIC. Prints OK."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

RECORDS = 300
PARTITIONS = 3


async def produce(bootstrap, topic, first):
    for settings in [{}, {"enable_idempotence": True, "compression_type": "gzip"}]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings)
        await producer.start()
        sends = [
            await producer.send(topic, b"%d" % n, key=b"%d" % n, partition=n % PARTITIONS)
            for n in range(first, first + RECORDS)]
        await asyncio.gather(*sends)
        await producer.stop()
        first += RECORDS


def consumer_of(bootstrap, topic, group):
    return AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)


async def read(consumer, count):
    values = []
    while len(values) < count:
        found = await asyncio.wait_for(consumer.getmany(timeout_ms=500), 60)
        values += [int(record.value) for records in found.values() for record in records]
    return values


async def main(bootstrap, topic):
    group = f"{topic}-group"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.create_partitions({topic: NewPartitions(PARTITIONS)})
    assert topic in await admin.list_topics()
    await produce(bootstrap, topic, 0)
    consumer = consumer_of(bootstrap, topic, group)
    await consumer.start()
    assert sorted(await read(consumer, 2 * RECORDS)) == list(range(2 * RECORDS))
    await consumer.commit()
    # A second member takes its share, and both go on where the first one was.
    other = consumer_of(bootstrap, topic, group)
    await other.start()
    while not (other.assignment() and consumer.assignment()) or other.assignment() & consumer.assignment():
        # Nothing is left to read: what they wait for is each other.
        for one in (consumer, other):
            assert not await one.getmany(timeout_ms=50)
    await produce(bootstrap, topic, 2 * RECORDS)
    shares = [asyncio.create_task(read(it, len(it.assignment()) * 2 * RECORDS // PARTITIONS)) for it in (consumer, other)]
    values = [value for share in await asyncio.gather(*shares) for value in share]
    assert sorted(values) == list(range(2 * RECORDS, 4 * RECORDS)), "each record once"
    await consumer.commit()
    await other.commit()
    await consumer.stop()
    await other.stop()
    assert group in [name for name, _ in await admin.list_consumer_groups()]
    offsets = await admin.list_consumer_group_offsets(group)
    assert sum(offset.offset for offset in offsets.values()) == 4 * RECORDS, offsets
    assert TopicPartition(topic, 0) in offsets
    await admin.delete_topics([topic])
    assert topic not in await admin.list_topics()
    await admin.close()
    print("OK")


asyncio.run(main(*sys.argv[1:]))

"""A group of kafka-python against a broker: BOOTSTRAP TOPIC. Prints OK."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

RECORDS = 300
PARTITIONS = 3


def main(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = 0
    for _ in range(2):
        for n in range(sent, sent + RECORDS):
            producer.send(topic, str(n).encode(), partition=n % PARTITIONS)
        producer.flush(60)
        consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=f"{topic}-group",
            auto_offset_reset="earliest", enable_auto_commit=False)
        read, end = set(), time.monotonic() + 60
        while len(read) < RECORDS:
            assert time.monotonic() < end, f"{len(read)} of {RECORDS} read"
            for records in consumer.poll(500).values():
                read |= {int(record.value) for record in records}
        assert read == set(range(sent, sent + RECORDS)), "each goes on where the one before was"
        consumer.commit()
        sent += RECORDS
        assert sum(consumer.committed(TopicPartition(topic, p)) for p in range(PARTITIONS)) == sent
        consumer.close()
    print("OK")


main(*sys.argv[1:])

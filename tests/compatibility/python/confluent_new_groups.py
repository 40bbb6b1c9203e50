"""Groups of the consumer protocol (KIP-848) with confluent-kafka against a broker: BOOTSTRAP TOPIC. Prints OK."""

import sys
import time

from confluent import member, produce, until
from confluent_kafka.admin import AdminClient, NewTopic

RECORDS = 120
PARTITIONS = 6


def new(bootstrap, group, **settings):
    return member(bootstrap, group, **{"group.protocol": "consumer", **settings})


def reader(read):
    def poll(one):
        message = one.poll(0.05)
        if message is not None:
            assert message.error() is None, message.error()
            read.append(int(message.value()))
            one.commit(message, asynchronous=False)
        return len(one.assignment())
    return poll


def shared(bootstrap, topic, assignor):
    """Three members share the partitions; one leaves, and every record is read once."""
    group = f"{topic}-{assignor}"
    members = [new(bootstrap, group, **{"group.remote.assignor": assignor}) for _ in range(3)]
    for one in members:
        one.subscribe([topic])
    read = []
    poll = reader(read)
    until("a share for each", lambda: [poll(one) for one in members] == [2, 2, 2])
    members.pop().close()
    until("a share for each that is left", lambda: [poll(one) for one in members] == [3, 3])
    until("all records", lambda: [poll(one) for one in members] and len(set(read)) == RECORDS)
    assert len(read) == RECORDS, "a record came twice"
    for one in members:
        one.close()


def pattern(bootstrap, topic, admin):
    """A topic that comes after the subscription is found."""
    one = new(bootstrap, f"{topic}-pattern")
    one.subscribe([f"^{topic}-later.*"])
    read = []
    poll = reader(read)
    until("a first look at the topics", lambda: poll(one) == 0 and one.memberid())
    for made in admin.create_topics([NewTopic(f"{topic}-later-1", PARTITIONS, 1)]).values():
        made.result(60)
    produce(bootstrap, f"{topic}-later-1", range(60), PARTITIONS)
    until("the records of a topic that came later", lambda: poll(one) >= 0 and len(read) == 60)
    one.close()


def static(bootstrap, topic):
    """A static member that comes back within its session keeps its partitions, and the other one its own."""
    group = f"{topic}-static"
    other = new(bootstrap, group, **{"group.instance.id": "other"})
    other.subscribe([topic])
    poll = reader([])
    for _ in range(2):
        one = new(bootstrap, group, **{"group.instance.id": "one"})
        one.subscribe([topic])
        until("half of them each", lambda: (poll(one), poll(other)) == (3, 3))
        one.close()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert poll(other) == 3
    other.close()


def mixed(bootstrap, topic):
    """A classic member and one of the new protocol share the partitions, whoever was first."""
    for first, second in ((member, new), (new, member)):
        group = f"{topic}-mixed-{first.__name__}"
        settings = {"partition.assignment.strategy": "cooperative-sticky"}
        members = [one(bootstrap, group, **(settings if one is member else {})) for one in (first, second)]
        read = []
        poll = reader(read)
        members[0].subscribe([topic])
        until("all partitions", lambda: poll(members[0]) == PARTITIONS)
        members[1].subscribe([topic])
        until("a share for each", lambda: [poll(one) for one in members] == [3, 3])
        until("all records", lambda: [poll(one) for one in members] and len(set(read)) == RECORDS)
        # The last one of the new protocol goes, and the classic one has everything.
        members.pop(0 if first is new else 1).close()
        until("all partitions", lambda: poll(members[0]) == PARTITIONS)
        members[0].close()


def main(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        made.result(60)
    produce(bootstrap, topic, range(RECORDS), PARTITIONS)
    for assignor in ("uniform", "range"):
        shared(bootstrap, topic, assignor)
    pattern(bootstrap, topic, admin)
    static(bootstrap, topic)
    mixed(bootstrap, topic)
    print("OK")


main(*sys.argv[1:])

// KafkaJS against a broker: BOOTSTRAP TOPIC. Prints OK.
//
// KafkaJS reads through consumer groups alone, so what it wrote is judged by its admin client here,
// and read back by the test that runs this.

const { Kafka, CompressionTypes, logLevel } = require('kafkajs')
const assert = require('node:assert')

const RECORDS = 1000

async function main(bootstrap, topic) {
  const kafka = new Kafka({ clientId: 'floe', brokers: [bootstrap], logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
  for (const settings of [{}, { idempotent: true }]) {
    const producer = kafka.producer(settings)
    await producer.connect()
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
      const messages = Array.from({ length: RECORDS }, (_, n) => ({ key: `${n}`, value: `value ${n}` }))
      await producer.send({ topic, messages, compression })
    }
    await producer.disconnect()
  }
  const [offsets] = await admin.fetchTopicOffsets(topic)
  assert.strictEqual(offsets.low, '0')
  assert.strictEqual(offsets.high, `${4 * RECORDS}`)
  await admin.disconnect()
  console.log('OK')
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})

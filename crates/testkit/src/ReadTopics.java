// Reads topics with Kafka's own Java client, once per isolation level, and prints what it sees, a line for each record.
// Run from its source: java -cp 'libs/*' ReadTopics.java BOOTSTRAP TOPIC...

import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class ReadTopics {
    public static void main(String[] arguments) {
        PrintStream out = new PrintStream(System.out, false);
        for (String isolation : new String[] {"read_uncommitted", "read_committed"}) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", arguments[0]);
            properties.put("isolation.level", isolation);
            properties.put("enable.auto.commit", "false");
            properties.put("auto.offset.reset", "none");
            properties.put("check.crcs", "true");
            ByteArrayDeserializer bytes = new ByteArrayDeserializer();
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
                for (int index = 1; index < arguments.length; index++) {
                    read(consumer, arguments[index], isolation, out);
                }
            }
        }
        out.flush();
    }

    private static void read(KafkaConsumer<byte[], byte[]> consumer, String topic, String isolation, PrintStream out) {
        List<TopicPartition> partitions = new ArrayList<>();
        consumer.partitionsFor(topic).forEach(found -> partitions.add(new TopicPartition(topic, found.partition())));
        Map<TopicPartition, Long> starts = consumer.beginningOffsets(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        consumer.assign(partitions);
        Set<TopicPartition> open = new HashSet<>(partitions);
        for (TopicPartition partition : partitions) {
            consumer.seek(partition, starts.get(partition));
            out.println(String.join("\t", "log", isolation, topic, "" + partition.partition(),
                "" + starts.get(partition), "" + ends.get(partition)));
        }
        long deadline = System.currentTimeMillis() + 60_000;
        while (true) {
            open.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
            if (open.isEmpty()) {
                return;
            }
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("nothing came from " + open + " for a minute");
            }
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                deadline = System.currentTimeMillis() + 60_000;
                StringBuilder line = new StringBuilder(String.join("\t", "record", isolation, topic,
                    "" + record.partition(), "" + record.offset(), "" + record.timestamp(),
                    record.timestampType().name, text(record.key()), text(record.value())));
                for (Header header : record.headers()) {
                    line.append("\t").append(text(header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8)));
                    line.append("\t").append(text(header.value()));
                }
                out.println(line);
            }
        }
    }

    private static String text(byte[] bytes) {
        return bytes == null ? "-" : "=" + Base64.getEncoder().encodeToString(bytes);
    }
}

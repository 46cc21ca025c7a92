import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkThrowable;
import org.apache.spark.sql.catalyst.trees.TreeNode;
import org.apache.spark.sql.catalyst.trees.TreeNodeTag;
import org.apache.spark.sql.execution.SparkSqlParser;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.unsafe.types.UTF8String;
import scala.Option;
import scala.Product;

/**
 * Spark's own parser, and its tree written down without loss. Compiled at start by Janino, which
 * Spark ships. Spark's `toJSON` is no substitute: it prints the name `a, b` like the two names a and
 * b, and leaves out LIKE's escape character, table options and the rows of VALUES.
 *
 * The answer is {"nodes": [...]} in pre-order, or {"refused": message}. A node is {"class", "fields"}
 * and, where the tree has them, "others" (constructor arguments of a second list) and "tags".
 * A field is a JSON scalar, a list, or an object with exactly one of: "node" (index), "type",
 * "decimal", "char", "enum", "map", "opaque", or "class" with "fields" (a value that is no node).
 */
public class SyntaxTree {
    private final int maxDepth;
    private final int maxNodes;

    public SyntaxTree(int maxDepth, int maxNodes) {
        this.maxDepth = maxDepth;
        this.maxNodes = maxNodes;
    }

    public String plan(String text) throws IOException {
        return parse(text, false);
    }

    public String expression(String text) throws IOException {
        return parse(text, true);
    }

    private String parse(String text, boolean isExpression) throws IOException {
        SQLConf conf = SQLConf.get();
        // The settings belong to this thread, so they are made right before every parse.
        conf.setConfString("spark.sql.variable.substitute", "false");
        conf.setConfString("spark.sql.ansi.enabled", "false");
        conf.setConfString("spark.sql.session.timeZone", "UTC");
        try {
            SparkSqlParser parser = new SparkSqlParser();
            Object tree = isExpression ? (Object) parser.parseExpression(text) : (Object) parser.parsePlan(text);
            return new Writer().write(tree);
        } catch (StackOverflowError error) {
            return refused("TOO_LARGE", "the text is nested too deeply");
        } catch (TooLargeException error) {
            return refused("TOO_LARGE", error.getMessage());
        } catch (Exception error) {
            // A constant unless the error is one that Spark words for users: of the text alone.
            return refused("PARSE", error instanceof SparkThrowable ? error.getMessage() : "the text is not SQL");
        }
    }

    private static String refused(String code, String message) throws IOException {
        StringWriter out = new StringWriter();
        JsonGenerator json = new JsonFactory().createGenerator(out);
        json.writeStartObject();
        json.writeStringField("refused", code);
        json.writeStringField("message", message);
        json.writeEndObject();
        json.close();
        return out.toString();
    }

    private static class TooLargeException extends RuntimeException {
        TooLargeException(String message) {
            super(message);
        }
    }

    private class Writer {
        private final List nodes = new ArrayList();
        private final List depths = new ArrayList();
        private JsonGenerator json;

        String write(Object root) throws IOException {
            StringWriter out = new StringWriter();
            json = new JsonFactory().createGenerator(out);
            json.enable(JsonGenerator.Feature.ESCAPE_NON_ASCII);
            json.writeStartObject();
            json.writeArrayFieldStart("nodes");
            register(root, 1);
            for (int index = 0; index < nodes.size(); index++) {
                node((TreeNode) nodes.get(index), ((Integer) depths.get(index)).intValue());
            }
            json.writeEndArray();
            json.writeEndObject();
            json.close();
            return out.toString();
        }

        private int register(Object node, int depth) {
            if (depth > maxDepth) {
                throw new TooLargeException("the text is nested deeper than " + maxDepth + " levels");
            }
            if (nodes.size() >= maxNodes) {
                throw new TooLargeException("the text has more than " + maxNodes + " parts");
            }
            nodes.add(node);
            depths.add(Integer.valueOf(depth));
            return nodes.size() - 1;
        }

        private void node(TreeNode node, int depth) throws IOException {
            json.writeStartObject();
            product((Product) node, depth);
            Iterator others = iterator(node.otherCopyArgs());
            if (others.hasNext()) {
                json.writeFieldName("others");
                list(others, depth);
            }
            if (!node.isTagsEmpty()) {
                json.writeFieldName("tags");
                tags(node);
            }
            json.writeEndObject();
        }

        /** Tags are set beside the constructor and private to Spark: the names are enough to judge. */
        private void tags(TreeNode node) throws IOException {
            json.writeStartArray();
            try {
                Field field = TreeNode.class.getDeclaredField("_tags");
                field.setAccessible(true);
                scala.collection.Map tags = (scala.collection.Map) field.get(node);
                for (Iterator names = iterator(tags.keys()); names.hasNext();) {
                    json.writeString(((TreeNodeTag) names.next()).name());
                }
            } catch (ReflectiveOperationException error) {
                json.writeString("unreadable");
            }
            json.writeEndArray();
        }

        private void product(Product product, int depth) throws IOException {
            json.writeStringField("class", product.getClass().getName());
            json.writeObjectFieldStart("fields");
            for (int index = 0; index < product.productArity(); index++) {
                json.writeFieldName(product.productElementName(index));
                value(product.productElement(index), depth);
            }
            json.writeEndObject();
        }

        private void value(Object value, int depth) throws IOException {
            if (value instanceof Option) {
                value = ((Option) value).isEmpty() ? null : ((Option) value).get();
            }
            if (value == null) {
                json.writeNull();
            } else if (value instanceof TreeNode) {
                single("node");
                json.writeNumber(register(value, depth + 1));
                json.writeEndObject();
            } else if (value instanceof String || value instanceof UTF8String) {
                json.writeString(value.toString());
            } else if (value instanceof Boolean) {
                json.writeBoolean(((Boolean) value).booleanValue());
            } else if (value instanceof Integer || value instanceof Long) {
                json.writeNumber(((Number) value).longValue());
            } else if (value instanceof Double) {
                json.writeNumber(((Double) value).doubleValue());
            } else if (value instanceof Decimal) {
                single("decimal");
                json.writeString(value.toString());
                json.writeEndObject();
            } else if (value instanceof Character) {
                single("char");
                json.writeString(value.toString());
                json.writeEndObject();
            } else if (value instanceof DataType) {
                single("type");
                json.writeString(((DataType) value).catalogString());
                json.writeEndObject();
            } else if (value instanceof scala.Enumeration$Value) {
                single("enum");
                json.writeString(value.toString());
                json.writeEndObject();
            } else if (value instanceof Map) {
                map((Map) value, depth);
            } else if (value instanceof scala.collection.Seq) {
                list(iterator((scala.collection.Iterable) value), depth);
            } else if (value instanceof Product) {
                json.writeStartObject();
                product((Product) value, depth);
                json.writeEndObject();
            } else {
                single("opaque");
                json.writeString(value.getClass().getName());
                json.writeEndObject();
            }
        }

        private void map(Map map, int depth) throws IOException {
            single("map");
            json.writeStartArray();
            for (Iterator entries = map.entrySet().iterator(); entries.hasNext();) {
                Map.Entry entry = (Map.Entry) entries.next();
                json.writeStartArray();
                value(entry.getKey(), depth);
                value(entry.getValue(), depth);
                json.writeEndArray();
            }
            json.writeEndArray();
            json.writeEndObject();
        }

        private void list(Iterator values, int depth) throws IOException {
            json.writeStartArray();
            while (values.hasNext()) {
                value(values.next(), depth);
            }
            json.writeEndArray();
        }

        private void single(String name) throws IOException {
            json.writeStartObject();
            json.writeFieldName(name);
        }

        private Iterator iterator(scala.collection.Iterable values) {
            List copy = new ArrayList();
            for (scala.collection.Iterator each = values.iterator(); each.hasNext();) {
                copy.add(each.next());
            }
            return copy.iterator();
        }
    }
}

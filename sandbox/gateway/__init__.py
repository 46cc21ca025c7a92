"""The gateway: a Spark Connect server that lets stock PySpark ask protected questions.

A request goes through `server` (gRPC) and `service` (calls) to `wire` and `decode` (bytes become a
question, or a refusal), then to an `Answering` (which judges, pays and runs), and comes back
through `operations` (buffer, time grid) and `respond` (Spark's messages).
"""

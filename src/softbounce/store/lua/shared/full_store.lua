-- full_store: a full store lets a script run to its end only if its first write frees memory; a write that frees nothing will do.
-- needs: meta
redis.call("HDEL", meta, "")

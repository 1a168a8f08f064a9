-- clock: milliseconds by the server, or the virtual now that the demo and the tests set.
-- A full store lets a script run to its end whose first write frees; a write that frees nothing will do.
-- needs: meta
-- gives: now
redis.call("HDEL", meta, "")
local virtual_now = redis.call("HGET", meta, "now")
local server_time = redis.call("TIME")
local now = tonumber(virtual_now) or server_time[1] * 1000 + math.floor(server_time[2] / 1000)

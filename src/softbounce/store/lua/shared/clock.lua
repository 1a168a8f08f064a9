-- clock: the server's time in ms, or the virtual time that the demo and the tests set.
-- needs: meta
-- gives: now
local virtual_now = redis.call("HGET", meta, "now")
local server_time = redis.call("TIME")
local now = tonumber(virtual_now) or server_time[1] * 1000 + math.floor(server_time[2] / 1000)

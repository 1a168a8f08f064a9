-- take: moves the first message of several lists to the keys of taken messages.
-- effects  it leaves its list first, because a write that frees runs on a full server too, and is in both keys below
-- returns  {tag, queue (JSON), item}, or nil: all lists are empty
local unacked = KEYS[1] -- hash  tag -> [message, exchange, routing key]; "" sends it back to the queue itself
local index = KEYS[2] -- zset  tag -> when it was taken (s)
local tag = ARGV[1]
for i = 3, #KEYS do -- lists, in the order to look; ARGV[i - 1] is the queue of KEYS[i]
  local item = redis.call("RPOP", KEYS[i])
  if item then
    local now = redis.call("TIME")
    redis.call("ZADD", index, string.format("%d.%06d", now[1], now[2]), tag)
    redis.call("HSET", unacked, tag, "[" .. item .. ',"",' .. ARGV[i - 1] .. "]")
    return { tag, ARGV[i - 1], item }
  end
end
return false

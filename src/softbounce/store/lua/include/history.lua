-- history: one line for each thing that happened to a message, oldest first, at most 64. Needs: history, now.
-- fields  JSON object without its opening brace: '"k":"failed"}'
local function remember(id, fields)
  local reference = string.sub(id, 1, 12)
  local line = string.format('{"t":%d,"y":"%s",', now, string.sub(id, 13)) .. fields
  local lines = redis.call("HGET", history, reference)
  if not lines then
    redis.call("HSET", history, reference, line)
    return
  end
  local _, count = string.gsub(lines, "\n", "")
  if count >= 63 then
    lines = string.match(lines, "^[^\n]*\n[^\n]*\n(.*)$") -- the first line stays lost rather than the newest
  end
  redis.call("HSET", history, reference, lines .. "\n" .. line)
end

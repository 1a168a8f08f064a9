-- history: one line for each thing that happened to a message, oldest first, at most 200. Needs: history, now.
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
  if count >= 199 then
    local first, rest = string.match(lines, "^([^\n]*)\n[^\n]*\n(.*)$") -- how it began stays, the second line goes
    lines = first .. "\n" .. rest
  end
  redis.call("HSET", history, reference, lines .. "\n" .. line)
end

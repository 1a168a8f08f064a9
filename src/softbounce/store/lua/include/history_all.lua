-- history_all: one more line for each of many. Needs: history.
local function remember_all(ids, fields)
  local references, lines, written = {}, {}, {}
  for n, id in ipairs(ids) do
    references[n] = string.sub(id, 1, 12)
  end
  for n, known in ipairs(redis.call("HMGET", history, unpack(references))) do
    local reference = references[n]
    lines[reference] = with_line(lines[reference] or known, ids[n], fields[n], "") -- two of one message may end together
    written[2 * n - 1] = reference
  end
  for n, reference in ipairs(references) do
    written[2 * n] = lines[reference]
  end
  redis.call("HSET", history, unpack(written))
end

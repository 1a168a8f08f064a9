-- history: one line for each thing that happened to a message, oldest first, at most 200. Needs: history, now.
-- fields  JSON object without its opening brace: '"k":"failed"}'; more: where that was made elsewhere, the rest of it
local stamp = string.format("%d", now)
local function with_line(lines, id, fields, more)
  if not lines then
    return '{"t":' .. stamp .. ',"y":"' .. string.sub(id, 13) .. '",' .. fields .. more
  end
  if #lines > 199 * 32 then -- no line is shorter
    local _, count = string.gsub(lines, "\n", "")
    if count >= 199 then
      local first, rest = string.match(lines, "^([^\n]*)\n[^\n]*\n(.*)$") -- how it began stays, the second line goes
      lines = first .. "\n" .. rest
    end
  end
  return lines .. '\n{"t":' .. stamp .. ',"y":"' .. string.sub(id, 13) .. '",' .. fields .. more
end

local function remember(id, fields, more)
  local reference = string.sub(id, 1, 12)
  redis.call("HSET", history, reference, with_line(redis.call("HGET", history, reference), id, fields, more or ""))
end

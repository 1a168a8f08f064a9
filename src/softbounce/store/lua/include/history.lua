-- history: one line for each thing that happened to a message, oldest first, in at most 16 KiB: some 60 lines. Needs: history, now,
-- changes.
-- fields  JSON object without its opening brace: '"k":"failed"}'; more: where that was made elsewhere, the rest of it
local stamp = string.format("%d", now)
local HISTORY_BYTES = 16384 -- each new line writes all of them; 2.5 MB of one reference once cost 73 ms an event

local function remember(id, fields, more)
  local reference = string.sub(id, 1, 12)
  local line = '{"t":' .. stamp .. ',"y":"' .. string.sub(id, 13) .. '",' .. fields .. (more or "")
  local lines = hget(history, reference)
  if lines then
    local excess = #lines + 1 + #line - HISTORY_BYTES
    if excess > 0 then -- how it began stays, the lines after it go
      local first = string.find(lines .. "\n", "\n", 1, true)
      local next_kept = string.find(lines, "\n", first + excess, true)
      lines = string.sub(lines, 1, first - 1) .. (next_kept and string.sub(lines, next_kept) or "")
    end
    line = lines .. "\n" .. line
  end
  hset(history, reference, line)
end

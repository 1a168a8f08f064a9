-- entries: collects entries of a stream as a script's answer, and counts their bytes.
-- The answer is flat, three values an entry: id, event, reply (false: none). An entry of more than `most` bytes, or without a field
-- `event`, has its id alone, and the caller reads it by itself, so that no answer is larger than its caller can hold.
-- needs: most
-- gives: answer seen bytes keep
local answer, seen, bytes = {}, 0, 0

local function keep(entry)
  local fields, event, reply, size = entry[2], false, false, 0
  for n = 1, #fields, 2 do
    local name, value = fields[n], fields[n + 1]
    size = size + #name + #value
    if name == "event" then
      event = value
    elseif name == "reply" then
      reply = value
    end
  end
  if size > most then
    event, reply = false, false
  end
  answer[3 * seen + 1], answer[3 * seen + 2], answer[3 * seen + 3] = entry[1], event, reply
  seen, bytes = seen + 1, bytes + size
end

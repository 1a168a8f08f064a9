-- entries: what a script answers of the entries of a stream, and how many bytes they had.
-- The answer is flat, three values an entry: id, event, reply (false: none). Of an entry that holds more than `most` bytes or no
-- field `event` the id stands there alone, and the caller reads it by itself: no answer is larger than what its caller can hold.
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

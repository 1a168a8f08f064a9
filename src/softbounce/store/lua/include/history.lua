-- history: one line for each thing that happened to a message, oldest first, in at most 16 KiB: some 60 lines. Needs: history, now,
-- changes.
-- fields  JSON object without its opening brace: '"k":"failed"}'; more: where that was made elsewhere, the rest of it
local stamp = string.format("%d", now)
local HISTORY_BYTES = 16384 -- 2.5 MB of one message, written with each line, once cost 73 ms an event
local stories = {} -- reference -> what is known, then the new lines; joined once, however many there are

local function lines_of(reference)
  local story = stories[reference]
  if not story then
    return hget(history, reference)
  end
  stories[reference] = { table.concat(story, "\n") }
  return stories[reference][1]
end

local function remember(id, fields, more)
  local reference = string.sub(id, 1, 12)
  local story = stories[reference]
  if not story then
    story = { hget(history, reference) or nil }
    stories[reference] = story
  end
  story[#story + 1] = '{"t":' .. stamp .. ',"y":"' .. string.sub(id, 13) .. '",' .. fields .. (more or "")
end

-- The history goes with the delivery that has its newest line.
local function forget_history(id)
  local reference = string.sub(id, 1, 12)
  local lines = lines_of(reference)
  local newest = lines and (string.match(lines, "^.*\n(.*)$") or lines) -- without "^" each character is a beginning: 44 s a call
  if newest and string.find(newest, '"y":"' .. string.sub(id, 13) .. '"', 1, true) then
    stories[reference] = nil
    hdel(history, reference)
  end
end

before_writing[#before_writing + 1] = function()
  for reference, story in pairs(stories) do
    local lines = table.concat(story, "\n")
    local excess = #lines - HISTORY_BYTES
    if excess > 0 and #story > 1 then -- how it began stays, the lines after it go; the newest stays in any case
      local first = string.find(lines, "\n", 1, true)
      local newest = #lines - #story[#story]
      local rest = string.find(lines, "\n", math.min(first + excess, newest), true)
      lines = string.sub(lines, 1, first - 1) .. string.sub(lines, rest)
    end
    hset(history, reference, lines)
  end
  stories = {}
end

-- history: a line for each thing that happened to a message, the oldest first, at most 16 KiB: some 60 lines.
-- fields  a JSON object without its opening brace: '"k":"failed"}'; more  its rest, where another room made it
-- needs: history now before_writing hget hset hdel
-- gives: stamp story_of remember forget_history
local stamp = string.format("%d", now)
local HISTORY_BYTES = 16384 -- a history of 2.5 MB, written with each event, cost 73 ms an event
local stories = {} -- reference -> the stored lines, then new ones (is_longer); they are joined once

local function story_of(reference)
  stories[reference] = stories[reference] or { hget(history, reference) or nil }
  return stories[reference]
end

local function remember(id, fields, more)
  local story = story_of(string.sub(id, 1, 12))
  story.is_longer = true
  story[#story + 1] = '{"t":' .. stamp .. ',"y":"' .. string.sub(id, 13) .. '",' .. fields .. (more or "")
end

-- Deletes the lines of one delivery; other deliveries of the message keep theirs.
local function forget_history(id)
  local reference, own = string.sub(id, 1, 12), '"y":"' .. string.sub(id, 13) .. '"'
  local left = {}
  for line in string.gmatch(table.concat(story_of(reference), "\n"), "[^\n]+") do
    if not string.find(line, own, 1, true) then
      left[#left + 1] = line
    end
  end
  stories[reference] = nil
  if #left > 0 then
    hset(history, reference, table.concat(left, "\n"))
  else
    hdel(history, reference)
  end
end

-- Keeps the first line and the newest ones: the oldest lines between them go.
local function shortened(lines, newest)
  local excess = #lines - HISTORY_BYTES
  local first = excess > 0 and string.find(lines, "\n", 1, true)
  if not first then
    return lines
  end
  local rest = string.find(lines, "\n", math.min(first + excess, #lines - #newest), true)
  return string.sub(lines, 1, first - 1) .. string.sub(lines, rest)
end

before_writing[#before_writing + 1] = function()
  for reference, story in pairs(stories) do
    if story.is_longer then
      hset(history, reference, shortened(table.concat(story, "\n"), story[#story]))
    end
  end
  stories = {}
end

-- sources: what is known of each source of reports: by how much they come later than their dates say, as a clock that is behind shows by
-- its smallest lag; and how many had a date, a time zone or an eventId that could not be taken as it was.
-- sources  {l: the lags (s) of its last reports, z: forget at (ms), and of each oddity its name -> {how many, when the last (ms)}}
-- needs: sources now hget hset before_writing
-- gives: note_source note_repeated_id is_clock_right
local REPORTS = 20 -- that count
local RIGHT = 5 * 60 -- s; a source whose every report comes later than this may have a clock that is behind
local KEPT = 30 * 24 * 3600 * 1000 -- ms after its last report
local ODDITY_KEPT = 7 * 24 * 3600 * 1000 -- ms; one that was not seen for so long is counted anew
local known = {} -- source -> its entry, read and written once for all its reports of a batch

local function entry_of(source)
  if not known[source] then
    local raw = hget(sources, source)
    known[source] = raw and cjson.decode(raw) or { l = {} }
  end
  return known[source]
end

local function note_oddity(source, name)
  local entry = entry_of(source)
  local old = entry[name] or { 0, now } -- how many, and when the last
  entry[name] = { old[2] + ODDITY_KEPT < now and 1 or old[1] + 1, now }
end

-- Notes the lag of a report that has a date, else that its date could not be used, and what else was odd about it.
local function note_source(event)
  if event.src then
    local own = entry_of(event.src).l
    own[#own + 1] = math.max(0, math.floor((now - event.at) / 1000))
    if #own > REPORTS then
      table.remove(own, 1)
    end
  end
  for _, name in ipairs(event.odd or {}) do
    note_oddity(event.from, name)
  end
end

local function note_repeated_id(event)
  note_oddity(event.src or event.from or "-", "repeated_id")
end

local function is_clock_right(event)
  return math.min(unpack(entry_of(event.src).l)) < RIGHT
end

before_writing[#before_writing + 1] = function()
  for source, entry in pairs(known) do
    entry.z = now + KEPT
    hset(sources, source, cjson.encode(entry))
  end
  known = {}
end

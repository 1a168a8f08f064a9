-- clocks: by how much reports come later than their dates say, for each source; a clock that is behind shows by its smallest lag.
-- clocks  {l: the lags (s) of its last reports, z: forget at (ms)}
-- needs: clocks now hget hset before_writing
-- gives: note_lag is_clock_right
local REPORTS = 20 -- that count
local RIGHT = 5 * 60 -- s; a source whose every report comes later than this may have a clock that is behind
local KEPT = 30 * 24 * 3600 * 1000 -- ms after its last report
local lags = {} -- source -> its entry, read and written once for all its reports of a batch

-- Notes the lag of a report that has a date.
local function note_lag(event)
  local source = event.src
  if not source then
    return
  end
  if not lags[source] then
    local raw = hget(clocks, source)
    lags[source] = raw and cjson.decode(raw) or { l = {} }
  end
  local own = lags[source].l
  own[#own + 1] = math.max(0, math.floor((now - event.at) / 1000))
  if #own > REPORTS then
    table.remove(own, 1)
  end
end

local function is_clock_right(event)
  return math.min(unpack(lags[event.src].l)) < RIGHT
end

before_writing[#before_writing + 1] = function()
  for source, entry in pairs(lags) do
    entry.z = now + KEPT
    hset(clocks, source, cjson.encode(entry))
  end
  lags = {}
end

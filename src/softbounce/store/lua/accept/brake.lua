-- brake: counts the new suppressions of a group. Above the usual number an incident opens, and new ones are provisional.
-- brakes  {w: begin of the window (ms), n: in it, u: usual for a window, k: the open incident, t: its suppressions,
--         z: forget at; absent while an incident is open, because only a person ends it}
-- needs: brakes cases now hget hset notify open_case limits case_facts
-- gives: count_suppression write_brakes
local REMEMBERED = 30 -- after so many windows without a suppression the usual number is forgotten
local braking = {} -- group -> its brake, written once a batch

local function brake_of(group)
  local brake = braking[group]
  if not brake then
    local raw = hget(brakes, group)
    brake = raw and cjson.decode(raw) or { w = now, n = 0 }
    braking[group] = brake
  end
  local passed = math.floor((now - brake.w) / limits.brake.within)
  if passed > 0 then
    if not brake.k then -- suppressions of an incident do not count as usual
      brake.u = (brake.u and 0.9 * brake.u + 0.1 * brake.n or brake.n) * 0.9 ^ (passed - 1)
    end
    brake.w, brake.n = now, 0 -- a window begins with its first suppression
  end
  return brake
end

-- Counts one suppression more. Returns the incident's case while one is open.
local function count_suppression(event, cause)
  local group = cause.b
  local brake = brake_of(group)
  brake.n = brake.n + 1
  if not brake.k and brake.n > math.max(limits.brake.more_than, limits.brake.times_usual * (brake.u or 0)) then
    local facts = case_facts(event, "incident")
    facts.merchant, facts.detail = "", ""
    facts.brake, facts.since, facts.usual = group, brake.w, math.floor(brake.u or 0)
    brake.k, brake.t = open_case("incident\n\n\n\n" .. group, cause.d, facts), brake.n - 1
    notify("incident", brake.k, "0", { case = brake.k, code = facts.code, group = group, count = brake.n, usual = facts.usual }, "[]", "")
  end
  brake.t = brake.k and brake.t + 1
  return brake.k
end

local function write_brakes()
  for group, brake in pairs(braking) do
    local case = brake.k and hget(cases, brake.k)
    if case then
      case = cjson.decode(case)
      case.suppressed = brake.t
      hset(cases, brake.k, cjson.encode(case))
    end
    brake.z = not brake.k and now + REMEMBERED * limits.brake.within or nil
    hset(brakes, group, cjson.encode(brake))
  end
end

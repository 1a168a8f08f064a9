-- breaker_changes: writes the changed state of providers, with the audit and the incident.
-- needs: breakers cases open_cases members audit now hget hset hdel zrem xadd
-- gives: touched incident_of note_change tell_closed write_breakers
local touched = {} -- provider -> its changed state
local A_DAY = 24 * 3600 * 1000

local function incident_of(one)
  return "incident\n\n\nprovider_down\n" .. one.name
end

local function note_change(one, action, reason)
  touched[one.name], one.head.y = one, 1
  xadd(audit, { at = now, actor = "policy", action = action, what = one.name, reason = reason })
end

local function tell_closed(one, reason)
  local group = incident_of(one)
  local case = hget(open_cases, group)
  if case then
    hdel(open_cases, group)
    hdel(cases, case)
    zrem(members, group .. "\n\n")
  end
  note_change(one, "breaker closed", reason)
end

local function write_breakers()
  for name, one in pairs(touched) do
    one.head.z = math.max(now, one.head.u or 0) + A_DAY + (one.breaker and one.breaker.ramp_up + one.breaker.within or 0)
    hset(breakers, name, cjson.encode(one.head) .. "\n" .. one.answers)
  end
end

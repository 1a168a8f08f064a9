-- outcomes: the ways in which a failure ends or goes on.
-- needs: schedule suppressions open_cases members now hget hmget zadd zrem notify open_case group_of case_facts suppress
--        is_consent is_clock_right is_standing limits
-- gives: finish_record suppress_recipient hold_for_incident end_suppressed refusal hold give_up schedule_next
local function finish_record(id, record, state, ended)
  zrem(schedule, id)
  if record.g then
    zrem(members, record.g .. "\n\n" .. id)
    record.g = nil
  end
  record.s = state
  record.e = ended
  record.w = nil
  record.z = now + limits.history
end

-- Returns the end of the suppression (ms or 0), and its entry.
local function suppress_recipient(event)
  local rule = event.rule
  local term = rule.suppression
  local scope = term.scope == "merchant" and event.m ~= "" and "@" .. event.m or "" -- without a merchant there is one sender only
  local also = event.also and event.also .. scope -- digits without a plus: whoever writes the plus is refused as well
  local entry = suppress(event, event.rid .. scope, also, {
    b = event.b, d = event.delivery, -- an incident's undo finds its causes and messages by these
    at = now, z = term.expires and now + term.expires or nil, code = event.code, origin = term.origin, evidence = { event.id },
    revision = limits.revision, rule = rule.name, line = rule.line, channel = event.ch, mask = event.mask, address = event.address,
    dated = event.src and is_consent(event.code) and is_clock_right(event) and event.at or nil,
  })
  return entry.z or 0, entry
end

-- An open incident holds the message instead of ending it. Returns whether one does. unsent: this try never left.
local function hold_for_incident(event, entry, unsent)
  local record = event.record
  local group = entry.incident and "incident\n\n\n\n" .. entry.b
  if not group or hget(open_cases, group) ~= entry.incident then
    return false
  end
  unsent = unsent or (record.s == "held" and record.j == 1)
  finish_record(event.delivery, event.record, "held", nil)
  record.g, record.j = group, unsent and 1 or nil
  zadd(members, 0, group .. "\n\n" .. event.delivery)
  event.outcome, event.case = "held", entry.incident
  return true
end

local function end_suppressed(event, unsent)
  local record = event.record
  local ends, entry = suppress_recipient(event)
  if not hold_for_incident(event, entry, unsent) then
    finish_record(event.delivery, event.record, "ended", "suppressed")
    record.j = unsent and 1 or record.j -- so an incident's undo may hold it again
    event.outcome = "suppressed"
  end
  local facts = { code = event.code, ["until"] = ends, case = entry.incident }
  notify("suppressed", event.delivery, event.i, facts, event.payload, event.recipients)
end

-- Returns the entry that refuses this recipient: an ordinary one first, a provisional one only where no other is active.
local function refusal(event)
  local found = false
  for _, raw in ipairs(hmget(suppressions, { event.rid, event.rid .. "@" .. event.m })) do
    if is_standing(raw) and (not found or found.incident) then
      found = cjson.decode(raw)
    end
  end
  return found
end

local function hold(event, kind)
  local id, record = event.delivery, event.record
  finish_record(event.delivery, event.record, "held", nil)
  record.g = group_of(event, kind)
  event.case = open_case(record.g, id, case_facts(event, kind))
  event.outcome = "held"
  local facts = { code = event.code, case = event.case, deadline = record.x * 1000 }
  notify("held", id, event.i, facts, event.payload, event.recipients)
end

local function give_up(event, why, with_case)
  local id, record = event.delivery, event.record
  finish_record(event.delivery, event.record, "ended", "given_up")
  event.outcome = "given_up"
  if with_case then
    record.g = group_of(event, "exhausted")
    event.case = open_case(record.g, id, case_facts(event, "exhausted"))
  end
  local facts = { code = event.code, why = why, case = event.case, tries = record.a }
  notify("given_up", id, record.a, facts, event.payload, event.recipients)
end

local function exhaust(event, why)
  local next_step = event.rule["then"]
  if next_step == "suppress" and event.counts and why == "retries_used_up" then -- a passed deadline tells nothing about the recipient
    end_suppressed(event, false)
  else
    give_up(event, why, next_step ~= "drop") -- without one recipient nobody can be suppressed: a person must look
  end
end

local function schedule_next(event)
  local id, record, rule = event.delivery, event.record, event.rule
  local done = record[rule.kind] or 0 -- tries answered with a fault of the same kind
  local dues = event.dues or {}
  if record.a >= limits.max_attempts or done >= #dues then
    return exhaust(event, "retries_used_up")
  end
  local due = math.max(dues[done + 1], now + limits.min_delay)
  if due > record.x * 1000 then
    return exhaust(event, "too_late")
  end
  record.s = "waiting"
  record.a = record.a + 1
  record.n = math.min(record.a + #dues - done - 1, limits.max_attempts)
  record.d = math.floor(due / 1000)
  record.w = event.quiet and string.sub(event.quiet, done + 1, done + 1) == "1" and "quiet" or nil
  record.e, record.z, record.g, record.k, record.kt, record.q, record.j = nil, nil, nil, nil, nil, nil, nil
  record.u = rule.soft.keeps and 1 or nil
  zadd(schedule, due, id)
  event.due, event.outcome = due, "scheduled"
end

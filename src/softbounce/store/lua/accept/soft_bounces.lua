-- soft_bounces: what a failure says about its recipient, and about others that resend too.
-- needs: pauses now hget hset notify open_case standing_of add_evidence count_apart group_of case_facts end_suppressed LATE
--        event rule payload to id record case escalated
-- gives: judge_recipient escalate look_for_other_retrier

-- Soft bounces and reports of one recipient. Returns whether this report confirms the suppression.
local function judge_recipient()
  local confirm = event["do"] == "suppress" and rule.confirm
  local soft = event.counts and rule.soft
  if not (soft or confirm) then
    return false
  end
  local known = standing_of(event.rid)
  local keep, confirmed = 0, false
  if confirm then
    known.c = known.c or {}
    local reports = known.c[event.code] or {}
    add_evidence(reports, event.i, event.at, confirm.within)
    known.c[event.code] = reports
    confirmed = count_apart(reports, confirm.apart) >= confirm.reports
    keep = confirm.within
  end
  if soft and not confirmed then
    known.m = known.m or {}
    add_evidence(known.m, soft.count == "messages" and string.sub(id, 1, 12) or event.i, event.at, soft.within)
    local newest = known.m[#known.m][2]
    if count_apart(known.m, soft.apart) >= soft.escalate_at and (not known.x or newest - known.x > soft.within) then
      known.x = newest
      escalated = soft
    end
    keep = math.max(keep, soft.within)
  end
  known.z = math.max(known.z or 0, now + keep)
  return confirmed
end

local function escalate()
  local facts = case_facts("soft_bounces")
  facts.recipient = event.rid
  facts.mask = event.mask
  local group = "soft_bounces\n" .. event.m .. "\n" .. event.ch .. "\n\n" .. event.rid
  case = open_case(group, id, facts)
  if escalated["then"] == "hold" then
    local field, ends = "recipient:" .. event.rid, now + escalated.hold_for
    local old = hget(pauses, field)
    if not old or cjson.decode(old).z < ends then -- a person's longer pause stays
      hset(pauses, field, cjson.encode({ z = ends, at = now, by = "policy", reason = "soft_bounces", case = case }))
    end
  elseif escalated["then"] == "suppress" then
    end_suppressed(record.s == "waiting")
  end
  notify("escalated", event.rid, event.at, {
    code = event.code, case = case, count = escalated.escalate_at, within = escalated.within, ["then"] = escalated["then"],
    recipient = event.mask,
  }, payload, to)
end

-- Two failures with no hand-over between them, well apart: somebody else resends this message as well.
-- A line of the history names one case, so one that escalates says it another time.
local function look_for_other_retrier()
  local apart = math.max(rule.settle, LATE)
  if not record.r and not escalated and event.at - (record.l or record.f) * 1000 > apart then
    record.r = 1
    case = open_case(group_of("also_retried"), id, case_facts("also_retried"))
  end
end

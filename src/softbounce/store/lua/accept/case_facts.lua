-- case_facts: the group of the case that an event opens or joins, and the facts that a person reads there.
-- needs: limits
-- gives: group_of case_facts
local function group_of(event, kind)
  return kind .. "\n" .. event.m .. "\n" .. event.ch .. "\n" .. event.code .. "\n" .. (event.detail or "")
end

local function case_facts(event, kind)
  return {
    kind = kind, merchant = event.m, channel = event.ch, code = event.code, detail = event.detail or "",
    rule = event.rule.name, sample = event.ref, revision = limits.revision,
  }
end

-- case: open a case for a group, or add one delivery to the open one.
-- group  kind, merchant, channel, code and detail by line breaks; facts  what a person reads. Returns the case's id.
-- needs: cases open_cases members meta now hget hset zadd
-- gives: open_case
local function open_case(group, id, facts)
  local case = hget(open_cases, group)
  if not case then
    local number = string.format("%d", (tonumber(hget(meta, "case")) or 0) + 1)
    case = "k_" .. number
    facts.group, facts.state, facts.opened = group, "open", now
    hset(meta, "case", number)
    -- first the case: a group must never name one that was not written
    hset(cases, case, cjson.encode(facts))
    hset(open_cases, group, case)
  end
  zadd(members, 0, group .. "\n\n" .. id)
  return case
end

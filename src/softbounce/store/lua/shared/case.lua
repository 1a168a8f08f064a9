-- case: opens a case for a group, or adds a delivery to the open one. Returns the case's id.
-- group  kind, merchant, channel, code and detail, by line breaks; facts  what a person reads
-- needs: cases open_cases members meta now hget hset zadd
-- gives: open_case
local function open_case(group, id, facts)
  local case = hget(open_cases, group)
  if not case then
    local number = string.format("%d", (tonumber(hget(meta, "case")) or 0) + 1)
    case = "k_" .. number
    facts.group, facts.state, facts.opened = group, "open", now
    hset(meta, "case", number)
    -- the case first: a group must never name a case that was not written
    hset(cases, case, cjson.encode(facts))
    hset(open_cases, group, case)
  end
  zadd(members, 0, group .. "\n\n" .. id)
  return case
end

-- case: open a case for a group, or add one delivery to the open one. Needs: cases, open_cases, members, meta, now.
-- group  kind, merchant, channel, code and detail by line breaks; facts  what a person reads. Returns the case's id.
local function open_case(group, id, facts)
  local case = redis.call("HGET", open_cases, group)
  if not case then
    case = string.format("k_%d", redis.call("HINCRBY", meta, "case", 1))
    facts.group, facts.state, facts.opened = group, "open", now
    redis.call("HSET", open_cases, group, case)
    redis.call("HSET", cases, case, cjson.encode(facts))
  end
  redis.call("ZADD", members, 0, group .. "\n\n" .. id)
  return case
end

-- notice: tells the pipeline or a person, by a schedule of its own.
-- One (type, about, round) has one id, so that a repeat writes the same field again.
-- needs: notices notice_bodies now hset zadd
-- gives: notify
local function notify(kind, about, round, facts, payload, recipients)
  local id = kind .. ":" .. about .. ":" .. round
  facts.type = kind
  facts.at = now
  hset(notice_bodies, id, cjson.encode(facts) .. "\n" .. payload .. "\n" .. recipients)
  zadd(notices, now, id)
end

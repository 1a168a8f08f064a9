-- suppress: refuse sends to one recipient until a time, or for ever. Needs: suppressions, audit, now.
-- An entry made by a person, or one that lasts longer, is not weakened by a later report; it gains the evidence.
local function suppress(field, entry, retention)
  local old = redis.call("HGET", suppressions, field)
  if old then
    old = cjson.decode(old)
    if not old.z or old.z > now then
      for _, event in ipairs(entry.evidence) do
        if #old.evidence < 5 then
          table.insert(old.evidence, event)
        end
      end
      if not entry.z or (old.z and entry.z > old.z) then
        old.z = entry.z
      end
      redis.call("HSET", suppressions, field, cjson.encode(old))
      return
    end
  end
  redis.call("HSET", suppressions, field, cjson.encode(entry))
  redis.call("XADD", audit, "MINID", "~", string.format("%d", now - retention), "*", "entry", cjson.encode({
    at = now, actor = "policy", action = "suppress", what = "r_" .. field, reason = entry.code,
  }))
end

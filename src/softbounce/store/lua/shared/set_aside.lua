-- set_aside: what cannot be read leaves its schedule, its bytes stay, and a person is told. Needs: damaged, deliveries, schedule,
-- changes, case; notice_bodies and notices where is_notice is given.
local function set_aside(name, raw, is_notice)
  local kept = is_notice and "notice:" .. name or name
  hset(damaged, kept, raw)
  hdel(is_notice and notice_bodies or deliveries, name)
  zrem(is_notice and notices or schedule, name)
  open_case("damaged_record\n\n\n\n", kept, { kind = "damaged_record", merchant = "", channel = "", code = "", detail = "" })
end

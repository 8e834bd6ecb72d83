"""What Valkey does in one step. It knows nothing but keys: who calls it says what each limit is.

A limit a minute is a hash, as Bucket has it: its level in units * microseconds of a minute, when that was so, and what
the limit was then. Calls at once are a sorted set of leases by when they end. Doubles are exact up to 2**53: hence
settings_limits.MOST.
"""

from __future__ import annotations

# Microseconds by the server's clock.
SERVER_TIME = "(function() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end)()"

_BUCKETS = """
local MINUTE = 60000000
local function whole(number) return string.format('%.0f', number) end
local function up(units, limit)
  local rest = units % limit
  return (units - rest) / limit + (rest > 0 and 1 or 0)
end
local function fill(level, limit, passed)
  local missing = limit * MINUTE - level
  if missing <= 0 or limit * passed >= missing then return limit * MINUTE end
  return level + limit * passed
end
local function read(key, limit, now)
  local found = redis.call('HMGET', key, 'level', 'at', 'limit')
  if not found[1] then return limit * MINUTE, now end
  local at = tonumber(found[2])
  local level = fill(tonumber(found[1]), tonumber(found[3]), math.max(0, now - at))
  return math.min(level, limit * MINUTE), math.max(at, now)
end
local function write(key, level, limit, at)
  redis.call('HSET', key, 'level', whole(level), 'at', whole(at), 'limit', whole(limit))
  redis.call('PEXPIRE', key, whole(up(limit * MINUTE - level, limit * 1000) + 60000))
end
local function left(level, limit) return math.floor(level / MINUTE), up(limit * MINUTE - level, limit) end
"""

# KEYS: the limits. ARGV: the ticket, microseconds of a lease, and of each limit its kind, itself, and the units.
# Gives 1 and of each limit what is left and microseconds until it is full; 0, which limit has too little, microseconds
# until it has (-1: nobody knows) and the same two of it; -1 and which limit never has so much.
_RESERVE = """
local levels, times = {}, {}
local longest, short = 0, 0
for i, key in ipairs(KEYS) do
  local kind, limit, units = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if kind == 'concurrency' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
    levels[i] = limit - redis.call('ZCARD', key)
    if levels[i] <= 0 then return {0, i, -1, 0, 0} end
  end
end
for i, key in ipairs(KEYS) do
  local kind, limit, units = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if kind ~= 'concurrency' then
    if units > limit then return {-1, i} end
    levels[i], times[i] = read(key, limit, now)
    local missing = units * MINUTE - levels[i]
    if missing > 0 and up(missing, limit) > longest then longest, short = up(missing, limit), i end
  end
end
if short > 0 then return {0, short, longest, left(levels[short], tonumber(ARGV[3 * short + 1]))} end
local answer = {1}
for i, key in ipairs(KEYS) do
  local kind, limit, units = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if kind == 'concurrency' then
    redis.call('ZADD', key, whole(now + ARGV[2]), ARGV[1])
    redis.call('PEXPIRE', key, whole(ARGV[2] / 1000 * 2))
    answer[2 * i], answer[2 * i + 1] = levels[i] - 1, 0
  else
    local level = levels[i] - units * MINUTE
    write(key, level, limit, times[i])
    answer[2 * i], answer[2 * i + 1] = left(level, limit)
  end
end
return answer
"""

# KEYS: the limits. ARGV: the ticket, and of each limit its kind, itself, and the units that come back or are owed.
_SETTLE = """
for i, key in ipairs(KEYS) do
  local kind, limit, back = ARGV[3 * i - 1], tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  if kind == 'concurrency' then
    redis.call('ZREM', key, ARGV[1])
  else
    local level, at = read(key, limit, now)
    write(key, math.min(level + back * MINUTE, limit * MINUTE), limit, at)
  end
end
return 1
"""

# KEYS: where a lease is, as often as there are leases. ARGV: microseconds of a lease, and each lease's ticket.
_RENEW = """
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, whole(now + ARGV[1]), ARGV[i + 1])
  redis.call('PEXPIRE', key, whole(ARGV[1] / 1000 * 2))
end
return #KEYS
"""


def scripts(time: str = SERVER_TIME) -> tuple[str, str, str]:
    """Reserve, settle and renew. `time`: what tells microseconds, in Lua."""
    begin = f"local now = tonumber({time})\n{_BUCKETS}"
    return begin + _RESERVE, begin + _SETTLE, begin + _RENEW

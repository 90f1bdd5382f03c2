"""The schedules by name."""

from gradwire_common.registry import Registry
from gradwire_server.rounds.asynchronous import Arrivals
from gradwire_server.rounds.schedule import ScheduleFactory
from gradwire_server.rounds.synchronous import Rounds

SCHEDULES: Registry[ScheduleFactory] = Registry("mode", {"synchronous": Rounds, "asynchronous": Arrivals})

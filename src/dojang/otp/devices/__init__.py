"""Registered devices: their codes are checked here, and each is accepted once."""

from dojang.otp.devices.device import Device as Device
from dojang.otp.devices.device import NewDevice as NewDevice
from dojang.otp.devices.policy import DevicePolicy as DevicePolicy
from dojang.otp.devices.register import Devices as Devices

"""PSKC (RFC 6030): seeds in a file, encrypted, from whoever makes devices and to whoever checks their codes."""

from dojang.otp.pskc.container import Container as Container
from dojang.otp.pskc.container import OpenKey as OpenKey
from dojang.otp.pskc.container import PskcKey as PskcKey
from dojang.otp.pskc.container import read_container as read_container

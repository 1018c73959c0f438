"""What the validator does when something happens: nothing at once. Every judgement takes data, and is work."""

from chassis import Handlers

handlers = Handlers()

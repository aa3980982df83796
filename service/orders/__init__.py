"""What admins ask of workers, through Redis: see `service.orders.desk` for who asks and `.taker` for who does it."""

from service.metrics_platform import OrderKind
from service.orders.desk import OrderDesk
from service.orders.order import EVERYBODY, MOST_CONNECTIONS, Order, OrderAnswer

__all__ = ["EVERYBODY", "MOST_CONNECTIONS", "Order", "OrderAnswer", "OrderDesk", "OrderKind"]

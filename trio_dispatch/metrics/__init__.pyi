from .collector import DispatcherCollector as DispatcherCollector
from .serving import serve_metrics as serve_metrics

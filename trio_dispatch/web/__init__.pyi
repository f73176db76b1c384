from .page import Page as Page
from .page import open_page as open_page
from .sessions import KeyInfo as KeyInfo
from .site import Backend as Backend

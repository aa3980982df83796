// @ts-check
/** What every page of somebody signed in does. */

import { startActions } from "./actions.js";
import { startDialogs } from "./dialogs.js";
import { startLive } from "./live.js";
import { startMoments } from "./moments.js";
import { startShortcuts } from "./shortcuts.js";
import { startTheme } from "./theme.js";

startTheme();
startMoments();
startDialogs();
startActions();
startShortcuts();
startLive();
document.documentElement.dataset.ready = "true";

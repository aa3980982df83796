// @ts-check
/** What the page does on which somebody signs in: nothing but its looks. */

import { startMoments } from "./moments.js";
import { startTheme } from "./theme.js";

startTheme();
startMoments();
document.documentElement.dataset.ready = "true";

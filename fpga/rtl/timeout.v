// SPDX-License-Identifier: Apache-2.0
//
// Says when TIMEOUT clocks have gone by since the last `restart`; then there must be another one.

`default_nettype none

module timeout #(
    parameter TIMEOUT = 65536  // clocks
) (
    input  wire clk,
    input  wire restart,
    output wire expired
);

    localparam WIDTH = $clog2(TIMEOUT) + 1;
    localparam FIRST = TIMEOUT - 1;

    reg [WIDTH-1:0] left_reg;  // negative: the time is up

    assign expired = left_reg[WIDTH-1];

    always @(posedge clk)
        if (restart)
            left_reg <= FIRST[WIDTH-1:0];
        else
            left_reg <= left_reg - 1'b1;

endmodule

`default_nettype wire

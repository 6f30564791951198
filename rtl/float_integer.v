// SPDX-License-Identifier: Apache-2.0
//
// Rounds a large integer as float32 does: to 24 bits, a half to the even one.
//
// One of up to 25 bits with its sign stays as it is. Combinational.

`default_nettype none

module float_integer #(
    parameter WIDTH = 32  // bits of the signed integer
) (
    input  wire [WIDTH-1:0] x,
    output reg  [WIDTH:0]   y
);

    localparam BITS = 24;

    wire [WIDTH:0] extended = {x[WIDTH-1], x};
    wire [WIDTH:0] size     = extended ^ {(WIDTH+1){x[WIDTH-1]}};
    integer        place;

    always @* begin
        y = extended;
        for (place = 1; place < WIDTH - BITS; place = place + 1)
            if (size >> (BITS - 1 + place) != 0) begin
                // All below the place goes; just less than half of it rounds up an odd one.
                y = extended + (({{WIDTH{1'b0}}, 1'b1} << (place - 1)) - 1'b1)
                  + {{WIDTH{1'b0}}, extended[place]};
                y = (y >> place) << place;
            end
    end

endmodule

`default_nettype wire
